#!/bin/sh
# The tests that meet the versions of Python and torch (models, training, lab, faults) under the oldest and the newest torch that
# pyproject.toml allows and under every Python: `make matrix`. Needs uv and the package index; each environment takes 2 to 6 GB.
# PYTHONS="3.11 3.13" RESOLUTIONS=highest make matrix runs a part.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=""
for python in ${PYTHONS:-3.11 3.12 3.13}; do
	for resolution in ${RESOLUTIONS:-lowest-direct highest}; do
		place="build/matrix/$python-$resolution"
		echo "== Python $python, $resolution"
		if uv venv --quiet --clear --python "$python" "$place" &&
			VIRTUAL_ENV="$place" uv pip install --quiet --resolution "$resolution" --editable ".[test]" &&
			"$place/bin/python" -c 'import numpy, torch; print("torch", torch.__version__, "numpy", numpy.__version__)' &&
			"$place/bin/python" -m pytest -q tests/models tests/test_training.py tests/lab/test_store.py \
				tests/lab/test_run.py tests/lab/test_spec.py tests/faults; then
			echo "== Python $python, $resolution: passed"
		else
			failed="$failed $python-$resolution"
		fi
	done
done
test -z "$failed" || { echo "failed:$failed" >&2; exit 1; }
