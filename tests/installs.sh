#!/usr/bin/env bash
# Build the wheel and walk each install that the README names, in a fresh environment that holds nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$PWD/.venv/bin/uv python=$PWD/.venv/bin/python pins=$PWD/requirements.txt
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
unset PYTHONPATH

"$uv" build --quiet --wheel --out-dir "$work" .
cd "$work" # nothing of the clone on the path
wheel=$(ls "$work"/*.whl)

fresh() { # NAME EXTRAS: an environment with exactly this install; `bonaface` is then its command
  "$uv" venv --quiet --python "$python" "$1"
  VIRTUAL_ENV=$work/$1 "$uv" pip install --quiet --constraint "$pins" "$wheel$2"
  bonaface=$work/$1/bin/bonaface
  echo "== $1: $(du -sm "$1" | cut -f1) MB"
}

scored() { # a verdict, whichever it is: exit code 0 or 1
  "$@" || [ $? = 1 ]
}

fresh train '[train]'
"$bonaface" demo -o demo --persons 4 training.epochs=2 crop.frames=4
clip=$(ls demo/footage/live/*/* | head -1)

fresh eval '[eval]'
"$bonaface" data index demo/footage -o manifest.csv
"$bonaface" data split manifest.csv --val 0.25 --test 0.25
"$bonaface" data audit manifest.csv -o audit
"$bonaface" evaluate demo/run/bundle manifest.csv -o results
"$bonaface" report demo/run/scores/test.csv --validation demo/run/scores/val.csv -o report
if "$bonaface" train demo data.manifest=manifest.csv -o run 2>error; then exit 1; fi
grep -F 'pip install ".[train]"' error

fresh base ''
"$bonaface" --help
"$work/base/bin/python" -m bonaface --version
"$bonaface" bundle show demo/run/bundle
scored "$bonaface" predict demo/run/bundle "$clip"
scored "$bonaface" predict demo/run/bundle "$clip" --json --save annotated
if "$bonaface" evaluate demo/run/bundle manifest.csv -o again 2>error; then exit 1; fi
grep -F 'pip install ".[eval]"' error
"$bonaface" serve demo/run/bundle --port 0 >address &
until grep -q http address; do sleep 0.5; kill -0 $!; done
"$work/base/bin/python" - "$(grep -o 'http[^ ]*' address | head -1)" "$clip" <<'PYTHON'
import sys, urllib.request
address, clip = sys.argv[1:]
request = urllib.request.Request(f"{address}/v1/liveness", open(clip, "rb").read(), {"Content-Type": "video/mp4"})
print(urllib.request.urlopen(request, timeout=60).read().decode())
PYTHON
echo "== all installs work"
