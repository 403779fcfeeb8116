"""Read a jfstore repository in an HDF5 directory without jfstore, to show what docs/design.md says of the format.

    python docs/plain_reader.py REPOSITORY PANEL TYPE INSTANT

INSTANT is in nanoseconds since 1970 UTC. Names of panels, runs of panels, tags and freezes change no answer.
"""

import json
import sys
from pathlib import Path

import h5py
from blake3 import blake3


def unseal(path, kind, extra):
    """Return what a sealed file says, its hash, and the part beside it."""
    lines = path.read_bytes().split(b"\n")
    body, beside = lines[1].removesuffix(b","), lines[4].removesuffix(b",")
    hashes = [blake3(part).hexdigest() for part in (body, beside)]
    frame = '{"%s":\n%s,\n"hash":"%s",\n"%s":\n%s,\n"%s_hash":"%s"}\n'
    words = kind, body.decode(), hashes[0], extra, beside.decode(), extra, hashes[1]
    if b"\n".join(lines) != (frame % words).encode():
        raise ValueError(f"{path} is damaged")
    return json.loads(body), hashes[0], json.loads(beside)


def read_log(root):
    """Yield every commit of the log with its files, in order; the chain of hashes is checked."""
    _, before, _ = unseal(root / "repository.json", "repository", "storage")
    for number, path in enumerate(sorted((root / "log").glob("??????????.json")), 1):
        commit, sealed, files = unseal(path, "commit", "files")
        if (commit["seq"], commit["prev"]) != (number, before):
            raise ValueError(f"{path} does not follow the commit before it")
        before = sealed
        yield commit, iter(files)


def select(root, panel, calib_type, instant):
    """Return the version that is valid, and its file; None if nothing is."""
    found, withdrawn, same = [], set(), []
    for commit, files in read_log(root):
        if commit["op"] in ("add", "add-2", "close"):
            found += [(version, None if "closes" in version else next(files)) for version in commit["versions"]]
        elif commit["op"] in ("withdraw", "restore"):
            names = set(commit["versions"])
            withdrawn = withdrawn | names if commit["op"] == "withdraw" else withdrawn - names
        elif commit["op"] in ("same_panel", "not_same_panel"):
            same = [pair for pair in same if pair != {*commit["panels"]}]
            same += [{*commit["panels"]}] if commit["op"] == "same_panel" else []
        elif commit["op"] not in ("name", "run_panels", "tag", "freeze"):
            raise ValueError(f"commit {commit['seq']} was made by a newer jfstore")
    panels = {panel}
    for _ in same:
        panels |= {name for pair in same if pair & panels for name in pair}
    winner = None
    for version, file in found:  # in the order in which they were added: of one start the last wins
        name = f"{version['panel']}/{version['stamp']}/v{version['number']}"
        holds = calib_type in version.get("arrays", version.get("closes"))
        counts = version["panel"] in panels and holds and name not in withdrawn and version["begin"] <= instant
        if counts and (winner is None or version["begin"] >= winner[0]["begin"]):
            winner = version, file
    return None if winner is None or winner[1] is None else winner


def read_array(root, version, file, calib_type):
    """Return the array of a version from its payload, compared with its hash."""
    with h5py.File(root / file["path"], "r") as payload:
        array = payload[calib_type][()]
    if blake3(array.tobytes()).hexdigest() != version["arrays"][calib_type]["blake3"]:
        raise ValueError(f"{file['path']} is damaged")
    return array


if __name__ == "__main__":
    place, panel_id, name, when = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    answer = select(place, panel_id, name, when)
    sys.exit("nothing is valid") if answer is None else print(read_array(place, *answer, name))
