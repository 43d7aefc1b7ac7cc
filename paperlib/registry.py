"""What the registries hold: a light record that names a method, its version, and where its code lies.

``ATTACKS``, ``DEFENSES``, ``DETECTORS``, ``SELECTIONS``, ``MODELS`` and ``TOOLS`` have one shape: name ->
:class:`Method`. Looking a method up or planning a grid of them imports no torch, only :meth:`Method.load` does.
``version`` is part of the key of every result that depends on the method: raise it when a change of the method's file
changes its results.

An installed package adds its own by entry points, see ``docs/plugins.md``. Your own method becomes one of them in two
lines, and then works wherever a name is taken: in calls, tables and plans::

    from paperlib.registry import Method
    DEFENSES["mine"] = Method.of(my_function, MySettings, title="Mine", access="clean subset")

where ``my_function(model, data, config, *, seed, progress) -> (model, notes)`` and ``MySettings`` is a frozen
dataclass; an attack is such a dataclass itself: ``ATTACKS["stripe"] = Method.of(Stripe)``. What each kind of method
must offer stands at the top of its package. Edit the method and its results are computed anew: its version is a digest
of its own source (not of what it calls). A run in another process (``executor="processes"`` or ``"ray"``) imports the
method, so that it must lie in a file there, not in a notebook.
"""

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from paperlib.errors import PaperlibError, choose

Pairs = tuple[tuple[str, Any], ...]
"""A mapping of JSON values as a sorted, hashable tuple: see :func:`paperlib.lab.spec.pairs`."""
NoSettings = make_dataclass("NoSettings", [], frozen=True)


@dataclass(frozen=True)
class Method:
    """One attack, defense, detector, selection strategy, model or tool."""

    module: str
    """Dotted name of the one file that is the method."""
    name: str
    """The name in that file: a class or a function."""
    title: str
    """The name the papers print."""
    config: str = ""
    """The name in that file of the hyper-parameter dataclass; empty: the method is that class itself."""
    version: int = 1
    changed: str = ""
    """What the last version changed, in a few words, for the tables that show a result of the one before."""
    defaults: Pairs = ()
    """Parameters that make this entry a variant of another one (BadNets-A2A is BadNets with other labels)."""
    access: str = ""
    """Defenses and detectors only: what the method may see besides the model."""
    prepare: str = ""
    """Attacks only: what its ``prepare`` starts from, ``data`` or ``model`` (a clean classifier and the data); empty:
    the trigger needs no preparation."""
    controls_training: bool = False
    """Attacks only: whether the attacker trains the classifier (True) or only hands in poisoned data."""
    sizes: str = ""
    """Defenses only: which sizes of a scale the method takes, ``defense`` (epochs and batch of fine-tuning on the clean
    subset), ``batch`` (that batch alone) or ``training`` (epochs, batch, learning rate and schedule of training from
    scratch); empty: none."""
    needs: str = ""
    """What the model must have, a word of :data:`paperlib.models.needs.NEEDS`; empty: nothing. Elsewhere the method is
    not applicable (NA)."""
    adapt: str = ""
    """Defenses that add layers only: the function of ``module`` that puts fresh ones into a model before weights are
    read."""
    given: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Functions and classes by their names, where they were given themselves (:meth:`of`)."""

    @classmethod
    def of(cls, function: Any, config: type | None = None, *, title: str = "", **facts: Any) -> "Method":
        """The method that ``function`` is, or a class of your own; see the top of this file.

        Parameters
        ----------
        function
            What the registry's package says: a function, for an attack a frozen dataclass.
        config
            The frozen dataclass of its hyper-parameters; None: it has none, or is that class itself.
        title
            What tables print; empty: the name of ``function``.
        **facts
            Other fields of this class, for example ``access`` of a defense.

        Raises
        ------
        PaperlibError
            ``function`` cannot be called, or its source, which its version is made of, is not there and no ``version``
            is given.
        """
        if not callable(function):
            raise PaperlibError(f"function={function!r} is no method; give a function, or the class of an attack.")
        if config is None and not isinstance(function, type):
            config = NoSettings
        given = {each.__qualname__: each for each in (function, config) if each is not None}
        if "version" not in facts:
            facts["version"] = _digest(
                [each for each in given.values() if each is not NoSettings], title or function.__qualname__
            )
        name = function.__qualname__
        return cls(
            function.__module__, name, title or name, config.__qualname__ if config else "", given=given, **facts
        )

    def __reduce__(self) -> Any:
        """Another process imports what was given."""
        return Method, tuple(getattr(self, f.name) for f in fields(self) if f.name != "given")

    def _named(self, name: str) -> Any:
        if name in self.given:
            return self.given[name]
        if name == NoSettings.__qualname__:
            return NoSettings
        try:
            return getattr(import_module(self.module), name)
        except (ImportError, AttributeError):
            raise PaperlibError(
                f"the method {self.title} cannot be imported: {self.module} has no {name!r} here; write it into a file"
                " that every process can import, or run with executor='inline'."
            ) from None

    def load(self) -> Any:
        """Import the method's file and return the class or function."""
        return self._named(self.name)

    def config_class(self) -> type:
        """The dataclass of its hyper-parameters."""
        return self._named(self.config or self.name)

    def adapter(self) -> Any:
        """The function that :attr:`adapt` names."""
        return self._named(self.adapt)


def _digest(given: Iterable[Any], title: str) -> int:
    """A version made of the source of ``given``: of functions, and of the methods and fields of classes."""
    texts = []
    for each in given:
        functions = [each]
        if isinstance(each, type):  # in a notebook the source of a class itself cannot be had
            functions = [value for _, value in sorted(vars(each).items()) if inspect.isfunction(value)]
            found = fields(each) if is_dataclass(each) else ()
            texts += [f"{f.name}={f.default_factory if f.default is MISSING else f.default!r}" for f in found]
        for function in functions:
            try:
                texts.append(inspect.getsource(function))
            except (OSError, TypeError):  # what dataclass wrote for a class
                if function is each:
                    raise PaperlibError(
                        f"the source of {title}, which its version is made of, is not there; give version=1."
                    ) from None
    return int(hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8], 16)


REGISTRIES: "dict[str, Registry]" = {}
"""Kind of method -> its registry, of those that were imported."""


class Registry(dict[str, Method]):
    """Name -> :class:`Method`. An unknown name lists the known ones and the nearest match."""

    def __init__(self, kind: str, module: str, methods: Mapping[str, Method]) -> None:
        """``module``: that of the registry, in which a method's module may begin with a dot."""
        whole = {n: replace(m, module=module + m.module) if m.module.startswith(".") else m for n, m in methods.items()}
        super().__init__(whole)
        self.kind, self.module, self.package = kind, module, whole
        REGISTRIES[kind] = self
        self._points = tuple(entry_points(group=f"paperlib.{module.rpartition('.')[2]}"))

    def _whole(self) -> "Registry":
        """Itself with the plug-ins, which are imported when somebody first looks, not while the registry's own room is
        imported."""
        points, self._points = self._points, ()
        try:
            for point in points:
                super().__setitem__(point.name, plugged(point))
        except PaperlibError:
            self._points = points
            raise
        return self

    def __getitem__(self, name: str) -> Method:
        self._whole()
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._whole()
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self._whole()
        return super().__iter__()

    def __len__(self) -> int:
        self._whole()
        return super().__len__()

    def keys(self) -> Any:
        self._whole()
        return super().keys()

    def values(self) -> Any:
        self._whole()
        return super().values()

    def items(self) -> Any:
        self._whole()
        return super().items()

    def get(self, name: str, default: Any = None) -> Any:
        return dict.get(self._whole(), name, default)

    def __missing__(self, name: str) -> Method:
        return self[choose(self.kind, name, self)]

    def __setitem__(self, name: str, method: Method) -> None:
        if not isinstance(method, Method):
            raise PaperlibError(
                f"{self.kind} {name!r} must be a Method, not {method!r}; write Method.of(...), see paperlib.registry."
            )
        super().__setitem__(name, method)

    @property
    def own(self) -> list[str]:
        """Names of the methods that do not come with the package, and of those that took the place of one that does."""
        return sorted(name for name, method in self.items() if self.package.get(name) != method)

    def settings(self, name: str, **params: Any) -> Any:
        """The hyper-parameters of the method ``name``: its defaults, changed by ``params``.

        Raises
        ------
        PaperlibError
            Unknown method or parameter.
        """
        method = self[name]
        return configure(method.config_class(), name, **{**dict(method.defaults), **params})


def plugged(point: EntryPoint) -> Method:
    """The method that an installed package adds by an entry point of the group ``paperlib.defenses``,
    ``paperlib.attacks``, ...

    Raises
    ------
    PaperlibError
        It cannot be imported, or is no :class:`Method`.
    """
    try:
        method = point.load()
    except Exception as error:
        raise PaperlibError(
            f"the plug-in {point.name!r} ({point.value}, group {point.group}) cannot be imported:"
            f" {type(error).__name__}: {error}; mend or uninstall its package."
        ) from error
    if not isinstance(method, Method):
        raise PaperlibError(
            f"the plug-in {point.name!r} ({point.value}, group {point.group}) is a {type(method).__name__}; it must be"
            " a Method: Method.of(...)."
        )
    return method


Own = tuple[tuple[str, str, str, Method], ...]


def own() -> Own:
    """What was registered on top of what comes with the package: for :func:`adopt` in another process."""
    return tuple((r.kind, r.module, name, r[name]) for r in REGISTRIES.values() for name in r.own)


def adopt(methods: Own) -> None:
    """Register what :func:`own` found elsewhere, unless it is here already."""
    for kind, module, name, method in methods:
        import_module(module)
        if name not in REGISTRIES[kind].own:
            REGISTRIES[kind][name] = method


def configure(cls: type, argument: str, **values: Any) -> Any:
    """Build the hyper-parameter dataclass ``cls``; an unknown name says which ones exist, a value that is none what
    would be right.

    Raises
    ------
    PaperlibError
        Unknown names, and what :func:`check_options` finds.
    """
    known = {field.name for field in fields(cls)}
    for name in values:
        choose(f"{argument} parameter", name, known)
    check_options(cls, values)
    return cls(**values)


SHARES = frozenset(
    [
        "alpha", "clean_share", "delta", "density", "eps", "fooling", "fpr", "held_out", "isolation", "least",
        "momentum", "percentile", "poisoned_share", "portion", "ratio", "region", "share", "step", "step_size",
        "sharpening", "size", "stamped", "strength", "success", "tuning", "unlearning",
    ]
)  # fmt: skip
"""Options that are shares of something: between 0 and 1, where their default is."""
ANY_SIGN = frozenset(
    ["index", "min_bit_accuracy", "min_psnr", "offset", "silhouette", "threshold", "unlearn_accuracy", "value"]
)
AT_LEAST_ONE = frozenset(
    [
        "batch_size", "bits", "components", "every", "folds", "images_at_once", "k", "levels", "linear_batch", "orders",
        "overlays", "pasted", "patch", "per_class", "projection", "simclr_batch", "taps", "width",
    ]
)  # fmt: skip


def check_seed(seed: Any) -> None:
    """Refuse a seed that is none.

    Raises
    ------
    PaperlibError
        No whole number, or a negative one.
    """
    check_numbers("seed", seed, 0)


def check_options(cls: type, values: Mapping[str, Any]) -> None:
    """Refuse hyper-parameters of a wrong type, not finite, negative, or shares outside [0, 1]; the methods know finer
    bounds.

    Raises
    ------
    PaperlibError
        The first such option.
    """
    for one in fields(cls):
        if one.name in values:
            check_value(one.name, values[one.name], one.type, one.default)


LARGEST = 2**63 - 1
KINDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a word", bool: "True or False"}


EXAMPLES: dict[Any, Any] = {int: 1, float: 0.5, str: "", bool: True}
CHOICES: dict[str, tuple[str, ...]] = {"selection": ("validation", "paper")}
"""Options that are one of a few words, in every method that has them."""


def check_value(name: str, value: Any, kind: Any, default: Any) -> None:
    """Refuse a ``value`` of the option ``name`` that its type ``kind`` does not have: a kind of number, one of several,
    a sequence.

    Raises
    ------
    PaperlibError
        See :func:`check_options`.
    """
    inside = get_args(kind)
    if kind in KINDS:
        check_numbers(name, value, default)
        if name in CHOICES:
            choose(name, value, CHOICES[name])
    elif get_origin(kind) is tuple and inside:
        if not isinstance(value, tuple | list):
            raise PaperlibError(f"{name}={value!r} must be a sequence, for example {default!r}.")
        for each in value:
            check_value(name, each, inside[0], next(iter(default or ()), EXAMPLES.get(inside[0])))
    elif get_origin(kind) is Mapping and not isinstance(value, Mapping):
        raise PaperlibError(f"{name}={value!r} must be a mapping.")
    elif get_origin(kind) in (Union, UnionType) and all(each in KINDS or each is NoneType for each in inside):
        if value is None and NoneType in inside:
            return
        fits = [each for each in inside if isinstance(value, {float: Real, int: Integral}.get(each, each))]
        if not fits or (isinstance(value, bool) and bool not in inside):
            words = " or ".join("None" if each is NoneType else KINDS[each] for each in inside)
            raise PaperlibError(f"{name}={value!r} must be {words}.")
        check_numbers(name, value, EXAMPLES[fits[0]])


def check_numbers(name: str, value: Any, default: Any) -> None:
    """Refuse a ``value`` of the option ``name`` that is of another kind than its ``default``, as :func:`check_options`
    says.

    Raises
    ------
    PaperlibError
        It is.
    """
    kind = type(default)
    if value is default or kind not in KINDS:
        return
    wanted: Any = {int: Integral, float: Real}.get(kind, kind)
    said = f"{name}={value!r}"
    if not isinstance(value, wanted) or (kind is not bool and isinstance(value, bool)):
        raise PaperlibError(f"{said} must be {KINDS[kind]}, for example {default!r}.")
    if kind not in (int, float):
        return
    if not isfinite(value):
        raise PaperlibError(f"{said} must be a finite number, for example {default!r}.")
    if kind is int and value > LARGEST:
        raise PaperlibError(f"{said} must be at most {LARGEST}; the default is {default!r}.")
    if name in AT_LEAST_ONE and value < 1:
        raise PaperlibError(f"{said} must be at least 1.")
    if value < 0 and default >= 0 and name not in ANY_SIGN:
        raise PaperlibError(f"{said} must not be negative; the default is {default!r}.")
    if name in SHARES and 0 <= default <= 1 and value > 1:
        raise PaperlibError(f"{said} must lie between 0 and 1.")
