#!/usr/bin/env bash
# Builds both images and asks the server for a ranking, on a machine with neither a container engine nor a registry.
#
#   docker/build.sh [base|server|trainer|check]...     all of them by default
#
# Needs root, and Debian's buildah, debootstrap and curl (apt-get install buildah debootstrap curl).
#   base     Debian with Python 3.11, under the name that the Dockerfiles start from; kept once made
#   server   builds docker/server.Dockerfile
#   trainer  builds docker/trainer.Dockerfile
#   check    trains in the trainer, serves from the server, both as their own user, and asks for a ranking; port 8000
#
# `chroot` isolation needs no engine, cgroups or network of its own: a step sees the host's network. pip inside the
# build uses this machine's pip settings, whatever they are; see `pip_volumes`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BASE=python:3.11-slim-bookworm
PYTHON=${PYTHON:-python3.11}
SERVER=localhost/ranking-service/server
TRAINER=localhost/ranking-service/trainer
URL=http://127.0.0.1:8000
WORK=$(mktemp -d)
CLEAN_UP="rm -rf $WORK"
trap 'set +e; eval "$CLEAN_UP"' EXIT

say() { printf '\n== %s\n' "$*"; }

base() {
    if buildah inspect --type image "docker.io/library/$BASE" >/dev/null 2>&1; then
        say "base: docker.io/library/$BASE is already here"
        return
    fi
    say "base: Debian bookworm with Python 3.11, tagged docker.io/library/$BASE"
    # python3-distutils by name: debootstrap does not follow the virtual package that python3.11-venv asks for.
    debootstrap --variant=minbase --include=python3.11,python3.11-venv,python3-distutils,ca-certificates \
        bookworm "$WORK/root" >"$WORK/debootstrap.log" || { tail -n 40 "$WORK/debootstrap.log"; exit 1; }
    rm -rf "$WORK"/root/var/cache/apt/* "$WORK"/root/var/lib/apt/lists/*
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$WORK/root" /
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3.11 "$container"
    buildah commit --quiet --rm "$container" "docker.io/library/$BASE"
    rm -rf "$WORK/root"
}

# Prints one --volume for this machine's pip settings (its files and PIP_* variables, as one file), and one for every
# file or folder that they name, at the same place: wheel folders, local indexes, certificates.
pip_volumes() {
    "$PYTHON" - "$WORK/pip.conf" <<'END'
import ast, configparser, pathlib, subprocess, sys

listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
conf = configparser.RawConfigParser()
for line in sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:")):  # variables win over files
    name, value = line.split("=", 1)
    section, key = name.replace(":env:", "global").split(".", 1)
    conf.read_dict({section: {key: ast.literal_eval(value)}})
target = pathlib.Path(sys.argv[1])
with target.open("w") as file:
    conf.write(file)

folders = set()
for word in {word for section in conf.sections() for value in conf[section].values() for word in value.split()}:
    path = pathlib.Path(word.removeprefix("file://"))
    if path.is_absolute() and path.exists():
        folders.add(path.parent if word.startswith("file://") else path)  # a local index links to its siblings
for source, place in [(target, "/etc/pip.conf"), *((folder, folder) for folder in sorted(folders))]:
    print(f"--volume={source}:{place}:ro")
END
}

build() { # build NAME IMAGE
    say "$1: docker/$1.Dockerfile"
    local volumes
    mapfile -t volumes < <(pip_volumes)
    buildah bud --isolation chroot --network host --format docker --pull-never --layers \
        "${volumes[@]}" --file "docker/$1.Dockerfile" --tag "$2" .
}

check() {
    local state=$WORK/state container server
    install --directory --owner=10001 --group=10001 "$state"

    say "check: the trainer simulates, trains, publishes and fills a feature store, as user 10001"
    container=$(buildah from --pull-never "$TRAINER")
    run() { buildah run --isolation chroot --network host --volume "$state:/var/lib/ranker" "$@"; }
    run "$container" -- ranker-train simulate --out log --impressions 20000
    run "$container" -- ranker-train train /etc/ranker/demo.yaml --data log/impressions --out run --registry registry
    run "$container" -- ranker-features materialize --store lmdb:features --view user --key user_id log/users.parquet
    run "$container" -- ranker-features materialize --store lmdb:features --view item --key item_id log/items.parquet
    buildah rm "$container" >/dev/null

    say "check: the server, started by its own command"
    container=$(buildah from --pull-never "$SERVER")
    [[ $(run "$container" -- id -u) == 10001 ]]
    local -a command health
    mapfile -t command < <(image_list "$SERVER" Entrypoint; image_list "$SERVER" Cmd)
    mapfile -t health < <(image_list "$SERVER" Healthcheck Test)
    # In a process group of its own, so that the server ends together with the buildah that started it.
    setsid buildah run --isolation chroot --network host --volume "$state:/var/lib/ranker" \
        --env RANKER_STORE__BACKEND=lmdb --env RANKER_STORE__PATH=features "$container" -- "${command[@]}" \
        >"$WORK/server.log" 2>&1 &
    server=$!
    CLEAN_UP="kill -- -$server; wait $server; cat $WORK/server.log; buildah rm $container >/dev/null; $CLEAN_UP"
    for _ in {1..120}; do
        kill -0 "$server"
        curl --silent --fail --output "$WORK/ready" "$URL/readyz" && break
        sleep 1
    done
    run "$container" -- "${health[@]:1}"
    curl --silent --show-error --fail "$URL/healthz" "$URL/readyz"

    say "check: a ranking over HTTP"
    curl --silent --show-error --fail --header 'Content-Type: application/json' --output "$WORK/answer.json" --data \
        '{"user_id": "u1", "context": {"hour": 21, "device": "ios"}, "candidates": ["i1", "i2", "i3", "i4", "i5"]}' \
        "$URL/rank"
    "$PYTHON" -m json.tool "$WORK/answer.json"
    "$PYTHON" - "$WORK/answer.json" <<'END'
import json, sys

ranking = json.load(open(sys.argv[1]))["ranking"]
scores = [one["score"] for one in ranking]
assert sorted(one["item_id"] for one in ranking) == ["i1", "i2", "i3", "i4", "i5"], ranking
assert scores == sorted(scores, reverse=True) and len(set(scores)) > 1, scores
END
    say "check: both images work; the server stops"
    CLEAN_UP=${CLEAN_UP/cat*server.log;/}
}

# image_list IMAGE KEY...: a list of strings in an image's config, one per line.
image_list() {
    buildah inspect --type image "$1" | "$PYTHON" -c '
import functools, json, operator, sys
print(*functools.reduce(operator.getitem, sys.argv[1:], json.load(sys.stdin)["Docker"]["config"]), sep="\n")' "${@:2}"
}

[[ $# -gt 0 ]] || set -- base server trainer check
for step in "$@"; do
    case $step in
        base | check) "$step" ;;
        server) build server "$SERVER" ;;
        trainer) build trainer "$TRAINER" ;;
        *) echo "a step must be base, server, trainer or check, got '$step'" >&2; exit 2 ;;
    esac
done
