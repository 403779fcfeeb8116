"""The zarr storage in a bucket, and in memory: the suite of every storage, and what a bucket may do."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.repository import Repository
from jfstore.repository.verify import verify
from jfstore.storage import bucket
from jfstore.storage.bucket import Remote
from jfstore.storage.zarr import ZarrStorage
from tests.conftest import ROOT
from tests.makers import buckets
from tests.makers.answering import answering, response
from tests.makers.proxy import FAULTS, proxied
from tests.makers.repositories import LATER, SHAPE, A, constants, entry, new_repository, reopened, seeds_of, story
from tests.storage.suite import Reopen, ZarrSuite

REQUEST = "0123456789abcdef" * 2


class TestZarrStorageInABucket(ZarrSuite):
    @pytest.fixture
    def reopen(self, s3: str) -> Reopen:
        return lambda: ZarrStorage(Remote(s3))


class TestZarrStorageInMemory(ZarrSuite):
    _numbers = itertools.count()

    @pytest.fixture
    def reopen(self) -> Reopen:
        number = next(self._numbers)
        return lambda: ZarrStorage(Remote(f"memory://suite/{number}"))


# -- what goes wrong: one line, soon

CASES: dict[str, tuple[dict[str, str], str]] = {
    "no credentials": ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials"),
    "wrong bucket": ({}, "there is no such bucket"),
    "no network": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "no answer from the server"),
    "no such host": ({"AWS_ENDPOINT_URL": "https://nowhere.invalid"}, "no answer from the server"),
}


INIT = ["init", "--storage", "zarr", "--role", "test"]


@pytest.mark.parametrize(
    ("case", "words"),
    [*((case, ["list"]) for case in CASES), ("wrong bucket", INIT), ("no network", INIT)],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_one_clear_line_soon(port: int, s3: str, case: str, words: list[str]) -> None:
    changed, says = CASES[case]
    url = "s3://no-such-bucket/R" if case == "wrong bucket" else s3
    # What gives out credentials in a cloud is not to be asked from a test.
    metadata = {"AWS_METADATA_ENDPOINT": f"http://127.0.0.1:{buckets.free_port()}"}
    environment = {**os.environ, **buckets.environment_of(port), **metadata, **changed}
    environment = {name: value for name, value in environment.items() if value}
    place = [url] if words[0] == "init" else ["--repo", url]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "jfstore", *words, *place],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    taken = time.monotonic() - start
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"jfstore: error: .*{says}.*\n", done.stderr), done.stderr
    assert url in done.stderr
    assert taken < 10
    print(f"{case}, {words[0]}: {taken:.1f} s")


STATUS = "Error performing PUT http://h/b/{} in 401.403ms - Server returned non-2xx status code: {}: <Error>{}</Error>"


@pytest.mark.parametrize(
    ("text", "says", "sure"),
    [
        (STATUS.format("k", "403 Forbidden", "<Code>InvalidToken</Code>"), "the credentials are not accepted", True),
        (STATUS.format("k", "403 Forbidden", "<Code>AccessDenied</Code>"), "access denied", True),
        (STATUS.format("k", "503 Service Unavailable", ""), "the server answered 503 Service Unavailable", False),
        (STATUS.format("k", "429 Too Many Requests", ""), "the server answered 429 Too Many Requests", False),
        (STATUS.format("k", "400 Bad Request", ""), "the server answered 400 Bad Request", True),
        # What a user's names say, or how long it took, is no reason.
        (
            STATUS.format("credentials/AccessDenied/NoSuchBucket/401", "500 Internal Server Error", ""),
            "the server answered 500 Internal Server Error",
            False,
        ),
        (
            "Error performing PUT http://h/credential in 403.1ms, after 2 retries - HTTP error: error sending request",
            "no answer from the server",
            False,
        ),
    ],
)
def test_reason_and_whether_nothing_was_done(text: str, says: str, sure: bool) -> None:
    assert bucket._reason(text) == (says, sure)


@pytest.mark.parametrize(
    ("answer", "says", "sure"),
    [
        (response("403 Forbidden", "AccessDenied"), "access denied", True),
        (response("401 Unauthorized"), "access denied", True),
        (response("403 Forbidden", "InvalidAccessKeyId"), "the credentials are not accepted", True),
        (response("403 Forbidden", "SignatureDoesNotMatch"), "the credentials are not accepted", True),
        (response("400 Bad Request", "ExpiredToken"), "the credentials are not accepted", True),
        (response("404 Not Found", "NoSuchBucket"), "there is no such bucket", True),
        (response("400 Bad Request", "EntityTooLarge"), "the server answered 400 Bad Request", True),
        (response("408 Request Timeout"), "the server answered 408 Request Timeout", False),
        (response("429 Too Many Requests"), "the server answered 429 Too Many Requests", False),
        (response("500 Internal Server Error"), "the server answered 500 Internal Server Error", False),
        (response("503 Service Unavailable", "SlowDown"), "the server answered 503 Service Unavailable", False),
        (None, "no answer from the server", False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "no answer from the server", False),
        (b"nothing that is HTTP\r\n\r\n", "no answer from the server", False),
    ],
    ids=lambda value: value[9:40].decode().partition("\r")[0] if isinstance(value, bytes) else None,
)
def test_what_obstore_says_of_an_answer(
    answer: bytes | None, says: str, sure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a write may have been done is read from obstore's messages, so a release that rewords them fails here."""
    monkeypatch.setattr(bucket, "_RETRY", {**bucket._RETRY, "max_retries": 0})
    with answering(answer) as port:
        for name, value in buckets.environment_of(port).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(OSError, match=f"{says}: 's3://b/R/log/1.json'") as raised:
            Remote("s3://b/R")._put("log/1.json", b"{}")
    assert isinstance(raised.value, bucket._Unsure) != sure


def test_a_name_that_is_taken_is_told_from_every_other_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for status, error in (("412 Precondition Failed", FileExistsError), ("409 Conflict", FileExistsError)):
        with answering(response(status, "PreconditionFailed")) as port:
            for name, value in buckets.environment_of(port).items():
                monkeypatch.setenv(name, value)
            with pytest.raises(error):
                Remote("s3://b/R")._put("log/1.json", b"{}")


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:secret@bucket/R",
        "s3://bucket/R?token=secret",
        "s3://bucket/R#secret",
        "s3://bucket/../secret",
        "s3://bucket/secret%2e",
        "http://key:secret@host/R",
        "S3://secret/R",
        "s3:///secret//x",
    ],
)
def test_url_is_a_place_and_nothing_else(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--repo", url]) == 2
    out, err = capfd.readouterr()
    assert "secret" not in out + err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("endpoint", ["http://example.org", "HTTP://10.0.0.1:9000", "http://127.0.0.1.example.org"])
def test_nothing_is_sent_unencrypted_to_another_machine(
    s3: str, endpoint: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    assert main(["list", "--repo", s3]) == 1
    assert "https" in capfd.readouterr().err


def test_secrets_are_nowhere(s3: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    repository = story(s3, "zarr")
    array = repository.get(A, "pixel_gain", LATER)
    again = pickle.loads(pickle.dumps(repository.storage.objects))
    assert again.location == s3
    texts = [repr(repository), repr(repository.storage.objects), repr(vars(repository.storage.objects)), repr(again)]
    texts += [pickle.dumps(thing).decode("latin-1") for thing in (repository.storage.objects, array)]
    texts += [repository.storage.read(f"log/000000000{seq}.json").decode() for seq in range(1, 5)]
    texts.append(repository.storage.read("repository.json").decode())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["--json", "history", "--repo", s3]) == 1
    texts += capfd.readouterr()
    for text in texts:
        assert buckets.SECRET not in text
        assert buckets.KEY not in text


def _in_fork(repository: Repository, answer: Any) -> None:
    try:
        repository.get(A, "pixel_gain", LATER)
    except jfstore.JfstoreError as error:
        answer.put(str(error))


def test_forked_process_is_told_and_does_not_hang(s3: str) -> None:
    repository = story(s3, "zarr")
    forking = multiprocessing.get_context("fork")
    answer = forking.SimpleQueue()
    child = forking.Process(target=_in_fork, args=(repository, answer))
    child.start()
    child.join(20)
    code = child.exitcode
    child.kill()
    assert code == 0, "it hangs"
    assert "forked" in answer.get()


# -- a store that cannot tell writers apart, and answers that are lost


class Odd:
    """A store in memory that lets a test come between."""

    def __init__(self, put: Callable[..., Any]) -> None:
        from obstore.store import MemoryStore

        self._store, self._put = MemoryStore(), put

    def put(self, name: str, data: Any, **options: Any) -> Any:
        return self._put(self._store, name, data, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def lost() -> Exception:
    from obstore.exceptions import GenericError

    return GenericError("Generic S3 error: Error performing PUT in 1s - HTTP error: error sending request")


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], str]:
    def place(put: Callable[..., Any]) -> str:
        store = Odd(put)
        monkeypatch.setattr(bucket, "_open", lambda url: store)
        return "memory://odd/R"

    return place


def test_store_that_creates_twice_is_refused(odd: Callable[..., str], capfd: pytest.CaptureFixture[str]) -> None:
    ignoring = [False]

    def put(store: Any, name: str, data: Any, **options: Any) -> Any:
        return store.put(name, data, **({} if ignoring[0] else options))

    url = odd(put)
    ignoring[0] = True
    with pytest.raises(jfstore.Refused, match="cannot tell writers apart") as caught:
        new_repository(url, storage="zarr")
    assert caught.value.exit_code == 5
    with pytest.raises(jfstore.Refused, match="not a repository"):
        jfstore.open(url)
    ignoring[0] = False
    repository = new_repository(url, storage="zarr")
    before = repository.storage.objects.sizes("log")
    ignoring[0] = True
    with pytest.raises(jfstore.Refused, match="cannot tell writers apart"):
        reopened(repository).add_entries([entry(A)], "one")
    assert repository.storage.objects.sizes("log") == before
    assert repository.storage.objects.sizes("panels") == {}


def test_bucket_whose_log_was_emptied_answers_nothing_and_verify_names_every_payload(s3: str) -> None:
    """A bucket has no folders: without commits and index it looks like a new repository whose first add was stopped."""
    repository = story(s3, "zarr")
    payloads = {version.file.path for version in repository.versions()}
    objects = repository.storage.objects
    for name in objects.names("log"):
        objects.remove(f"log/{name}")
    with pytest.raises(jfstore.Damaged):
        reopened(repository).get(A, "pixel_gain", LATER)
    objects.remove("jungfrau.index")
    with pytest.raises(jfstore.NotFound):
        reopened(repository).get(A, "pixel_gain", LATER)
    notes = verify(reopened(repository)).notes
    assert {name for name, text in notes if text == "nothing in the log refers to it"} >= payloads


@pytest.mark.parametrize("folder", ["log", "panels", "repository.json"])
def test_answer_that_is_lost_adds_once(odd: Callable[..., str], folder: str) -> None:
    def put(store: Any, name: str, data: Any, **options: Any) -> Any:
        done = store.put(name, data, **options)
        if name.startswith(folder) and options.get("mode") == "create":
            raise lost()
        return done

    repository = new_repository(odd(put), storage="zarr") if folder != "repository.json" else None
    repository = repository or new_repository("memory://odd/R", storage="zarr")
    assert repository.add_entries([entry(A, seed=1)], "one").seq == 1
    assert repository.add_entries([entry(A, seed=2)], "two").seq == 2
    assert seeds_of(reopened(repository)) == {A: 2}
    assert verify(reopened(repository)).problems == ()


def test_commit_without_an_answer_is_in_doubt_and_the_same_request_settles_it(odd: Callable[..., str]) -> None:
    held: list[tuple[Any, ...]] = []
    failing = [False]

    def put(store: Any, name: str, data: Any, **options: Any) -> Any:
        if failing[0] and name.startswith("log/"):
            held.append((name, bytes(data)))
            raise lost()
        return store.put(name, data, **options)

    url = odd(put)
    repository = new_repository(url, storage="zarr")
    failing[0] = True
    with pytest.raises(jfstore.InDoubt, match="commit 1 may be in the log") as caught:
        repository.add_entries([entry(A, seed=1)], "one")
    failing[0] = False
    # The request that was lost arrives late, just when it is repeated.
    name, data = held[0]
    repository.storage.objects.create(name, [data])
    done = reopened(repository).add_entries([entry(A, seed=1)], "one", request=caught.value.request)
    assert done.seq == 1
    assert [summary.seq for summary in reopened(repository).history()] == [1]


def test_commit_that_exists_and_cannot_be_read_is_in_doubt(odd: Callable[..., str]) -> None:
    blind = [False]

    def put(store: Any, name: str, data: Any, **options: Any) -> Any:
        done = store.put(name, data, **options)
        if name.startswith("log/"):
            blind[0] = True
            return store.put(name, data, **options)  # repeated on the way: exists
        return done

    repository = new_repository(odd(put), storage="zarr")
    get = repository.storage.objects._get  # type: ignore[attr-defined]

    def seen(name: str) -> Any:
        if blind[0]:
            raise OSError(5, "no answer from the server", name)
        return get(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository.storage.objects, "_get", seen)
        with pytest.raises(jfstore.InDoubt) as caught:
            repository.add_entries([entry(A, seed=1)], "one")
    again = reopened(repository)
    assert again.add_entries([entry(A, seed=1)], "one", request=caught.value.request).seq == 1
    assert len(again.history()) == 1


def test_conflict_that_left_nothing_is_tried_again(odd: Callable[..., str]) -> None:
    from obstore.exceptions import AlreadyExistsError

    refusals = Counter[str]()

    def put(store: Any, name: str, data: Any, **options: Any) -> Any:
        if name.startswith("log/") and refusals[name] < 2:
            refusals[name] += 1
            raise AlreadyExistsError("409 ConditionalRequestConflict")
        return store.put(name, data, **options)

    repository = new_repository(odd(put), storage="zarr")
    assert repository.add_entries([entry(A, seed=1)], "one").seq == 1
    assert refusals == {"log/0000000001.json": 2}


# -- a network that does what networks do


def told(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, list[str], float]:
    """Run ``jfstore``; return exit code, the lines of its messages, and how long it took."""
    start = time.monotonic()
    code = main(words)
    return code, capfd.readouterr().err.splitlines(), time.monotonic() - start


def trouble(
    port: int, url: str, faults: tuple[str, ...], share: float, adds: int, tmp_path: Any, capfd: Any, seed: int
) -> Counter[int]:
    """Add through a bad network, as a user would: repeat what is in doubt as printed, and what failed as it was."""
    import numpy as np

    repository = new_repository(url, storage="zarr")
    with proxied(port, seed) as (bad, proxy), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{bad}")
        proxy.faults, proxy.share = faults, share
        codes: Counter[int] = Counter()
        for number in range(1, adds + 1):
            np.save(tmp_path / "g.npy", constants(number))
            words = ["add", A, "-T", LATER, "-t", "pixel_gain", "-f", str(tmp_path / "g.npy"), "-m", f"{number}"]
            words += ["--repo", url]
            for _ in range(50):
                code, lines, taken = told(words, capfd)
                codes[code] += 1
                assert code in (0, 1, 75), lines
                assert taken < 60
                assert not [line for line in lines if "Traceback" in line or len(line) > 600]
                assert len([line for line in lines if "error: " in line]) == (code != 0), lines
                if code == 75:
                    words = shlex.split(lines[-1].partition("nothing is added twice: jfstore ")[2])
                if code == 0:
                    break
            assert code == 0, f"add {number} never succeeded: {lines}"
        for _ in range(20):
            with pytest.MonkeyPatch.context():
                words = ["get", A, "-T", "20200101000000", "-t", "pixel_gain", "--repo", url]
                code, lines, taken = told(words, capfd)
            assert code in (0, 1), lines
            assert taken < 60
        print(f"{share:.0%} of {sum(proxy.count.values())} requests: {dict(proxy.done)}; exit codes {dict(codes)}")
    again = reopened(repository)
    assert [summary.message for summary in again.history()] == [f"{number}" for number in range(1, adds + 1)]
    assert [version.number for version in again.versions()] == list(range(1, adds + 1))
    for version in again.versions():
        assert again.panel_array(version, "pixel_gain").tobytes() == constants(version.number).tobytes()
    assert verify(again).problems == ()
    return codes


def test_bad_network(port: int, s3: str, tmp_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    trouble(port, s3, FAULTS, 0.15, 4, tmp_path, capfd, seed=1)


@pytest.mark.full
@pytest.mark.parametrize("fault", [*FAULTS, "all"])
def test_every_fault_of_a_network(
    port: int, s3: str, tmp_path: Any, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    faults = FAULTS if fault == "all" else (fault,)
    trouble(port, s3, faults, 0.3 if fault == "all" else 0.4, 20, tmp_path, capfd, seed=2)


def test_round_trips_do_not_depend_on_the_number_of_versions(port: int, s3: str) -> None:
    repository = new_repository(s3, storage="zarr")
    counts = []
    for versions in (1, 12):
        while len(repository.versions()) < versions:
            repository.add_entries([entry(A, seed=len(repository.versions()))], "more")
        with proxied(port) as (counting, proxy), pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{counting}")
            jfstore.open(s3).get(A, "pixel_gain", LATER)
            counts.append(dict(proxy.count))
    # repository.json, the index, its last commit, a list of those after it, the version's commit, and the chunks.
    assert counts == [{"GET": 5 + SHAPE[0]}] * 2
