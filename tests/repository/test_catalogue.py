"""Which repository a name means: environment, user's and site's files, paths; never a silent other place."""

from __future__ import annotations

import sys
from pathlib import Path

import platformdirs
import pytest

import jfstore
from jfstore import BadValue, Failed, Refused
from jfstore.repository import catalogue
from tests.makers.repositories import SHAPE, new_repository


class World:
    """The configuration of a site and a user, and a place for repositories."""

    def __init__(self, root: Path) -> None:
        self.root, self.site, self.user = root, root / "site", root / "user"

    def configure(self, directory: Path, text: str) -> Path:
        directory.mkdir(exist_ok=True)
        path = directory / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def name(self, directory: Path, name: str, path: object) -> None:
        self.configure(directory, f'[repositories]\n{name} = "{path}"\n')


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr(platformdirs, "site_config_dir", lambda name: str(world.site))
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda name: str(world.user))
    monkeypatch.delenv("JFSTORE_TEST", raising=False)
    monkeypatch.delenv("JFSTORE_REAL", raising=False)
    monkeypatch.chdir(tmp_path)
    return world


def test_names_mean_the_directories_of_lcls(world: World) -> None:
    assert catalogue.read_names() == {
        "test": "/reg/g/psdm/detector/calib/jungfrau",
        "real": "/reg/d/psdm/detector/calib/jungfrau",
    }


def test_user_wins_over_site_and_environment_over_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def test_means() -> str:
        return str(catalogue.locate("test")[1])

    world.name(world.site, "test", "/of/site")
    assert test_means() == "/of/site"
    world.name(world.user, "test", "/of/user")
    assert test_means() == "/of/user"
    monkeypatch.setenv("JFSTORE_TEST", "/of/environment")
    assert test_means() == "/of/environment"
    assert catalogue.read_names()["real"] == catalogue.LCLS["real"]


def test_site_and_user_may_name_others(world: World) -> None:
    world.name(world.site, "epix", world.root / "epix")
    world.name(world.user, "mine", "~/mine")
    new_repository(world.root / "epix")
    assert jfstore.open("epix").storage.location == str(world.root / "epix")
    assert catalogue.locate("mine") == ("mine", Path("~/mine").expanduser())


@pytest.mark.parametrize("role", ["test", "real"])
def test_open_by_name(world: World, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    made = new_repository(world.root / "R", role)
    monkeypatch.setenv(f"JFSTORE_{role.upper()}", str(world.root / "R"))
    assert jfstore.open(role).identity == made.identity


@pytest.mark.parametrize("place", ["R", "./R", "{root}/R", "../{name}/R"])
def test_open_by_path(world: World, place: str) -> None:
    made = new_repository(world.root / "R")
    opened = jfstore.open(place.format(root=world.root, name=world.root.name))
    assert opened.identity == made.identity


def test_a_name_is_never_a_directory_that_happens_to_be_called_so(world: World) -> None:
    new_repository(world.root / "test")
    with pytest.raises(Failed, match=catalogue.LCLS["test"]):
        jfstore.open("test")
    assert jfstore.open("./test").identity.role == "test"


@pytest.mark.parametrize(("name", "role"), [("test", "real"), ("real", "test")])
def test_role_must_be_that_of_the_name(world: World, monkeypatch: pytest.MonkeyPatch, name: str, role: str) -> None:
    new_repository(world.root / "R", role)
    monkeypatch.setenv(f"JFSTORE_{name.upper()}", str(world.root / "R"))
    with pytest.raises(Refused, match=f"{role} repository") as caught:
        jfstore.open(name)
    assert caught.value.exit_code == 5
    assert jfstore.open(str(world.root / "R")).identity.role == role


def test_directory_that_is_not_there_names_path_and_variable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    new_repository(world.root / "other")
    world.name(world.user, "real", world.root / "other")
    monkeypatch.setenv("JFSTORE_REAL", str(world.root / "gone"))
    with pytest.raises(Failed) as caught:
        jfstore.open("real")
    assert str(world.root / "gone") in str(caught.value)
    assert "JFSTORE_REAL" in str(caught.value)
    world.name(world.user, "mine", world.root / "gone")
    with pytest.raises(Failed, match=r"config\.toml"):
        jfstore.open("mine")


@pytest.mark.parametrize("place", ["./gone", "file", "file/R"])
def test_path_that_is_no_directory(world: World, place: str) -> None:
    (world.root / "file").touch()
    with pytest.raises(Failed, match=place.removeprefix("./")):
        jfstore.open(place)


def test_directory_that_is_no_repository(world: World) -> None:
    (world.root / "R").mkdir()
    with pytest.raises(Refused, match=r"repository\.json"):
        jfstore.open("R")


def test_url_is_a_place(world: World) -> None:
    assert catalogue.locate("s3://bucket/x") == (None, "s3://bucket/x")
    world.name(world.user, "mine", "s3://bucket/x")
    assert catalogue.locate("mine") == ("mine", "s3://bucket/x")


def test_url_of_a_file_is_the_path(world: World) -> None:
    made = new_repository(world.root / "R")
    assert jfstore.open(f"file://{world.root}/R").identity == made.identity
    with pytest.raises(BadValue, match="file:///path"):
        jfstore.open("file://R")


def test_name_may_mean_a_url(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_repository("memory://named/R", storage="zarr")
    world.name(world.user, "mine", "memory://named/R")
    assert jfstore.open("mine").identity == made.identity
    monkeypatch.setenv("JFSTORE_TEST", "memory://named/R")
    assert jfstore.open("test").identity == made.identity
    monkeypatch.setenv("JFSTORE_REAL", "memory://named/R")
    with pytest.raises(Refused, match="test repository"):
        jfstore.open("real")


def test_hdf5_files_need_a_directory(world: World) -> None:
    with pytest.raises(BadValue, match="--storage zarr"):
        jfstore.init("memory://none/R", "test")


@pytest.mark.parametrize("place", ["http://host/x", "ftp://host/x", "x://y"])
def test_url_of_another_kind_is_no_place(world: World, place: str) -> None:
    with pytest.raises(BadValue, match="s3://"):
        jfstore.open(place)


@pytest.mark.parametrize(("name", "near"), [("tset", "test"), ("reel", "real"), ("epic", "epix"), ("zzz", "real")])
def test_unknown_name_lists_the_nearest(world: World, name: str, near: str) -> None:
    world.name(world.site, "epix", "/somewhere")
    with pytest.raises(BadValue) as caught:
        jfstore.open(name)
    assert near in caught.value.nearest
    assert near in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[repositories",
        "repositories = 3",
        "[repositories]\ntest = 3",
        "[repositories]\n[repositories.test]",
        "[other]\nx = 1",
        "test = '/x'",
        "\udcff",
    ],
)
@pytest.mark.parametrize("whose", ["site", "user"])
def test_configuration_that_is_wrong_is_said(world: World, text: str, whose: str) -> None:
    directory = getattr(world, whose)
    directory.mkdir()
    (directory / "config.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Failed, match=r"config\.toml"):
        jfstore.open("test")


def test_configuration_that_cannot_be_read_is_said(world: World) -> None:
    (world.user / "config.toml").mkdir(parents=True)
    with pytest.raises(Failed, match=r"config\.toml"):
        jfstore.open("test")


def test_no_place_is_not_the_current_directory(world: World) -> None:
    for act in (jfstore.open, lambda place: jfstore.init(place, "test")):
        with pytest.raises(BadValue):
            act("")
    assert list(world.root.iterdir()) == []


def test_empty_path_in_the_configuration_is_not_the_current_directory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_repository(world.root / "R", "real")
    monkeypatch.chdir(world.root / "R")
    world.name(world.user, "real", "")
    with pytest.raises(Failed):
        jfstore.open("real")


# -- init


def test_init_at_a_name_takes_its_role(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JFSTORE_REAL", str(world.root / "R"))
    with pytest.raises(BadValue, match="role"):
        jfstore.init("real", "test")
    assert jfstore.init("real", None).identity.role == "real"
    assert jfstore.open("real").identity.panel_shape == (3, 512, 1024)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"role": None}, BadValue),
        ({"role": "other"}, BadValue),
        ({"zone": "Mars/Base"}, BadValue),
        ({"zone": "../../etc/passwd"}, BadValue),
        ({"detector": "../x"}, BadValue),
        ({"detector": ""}, BadValue),
        ({"panel_shape": (3, 0, 8)}, BadValue),
        ({"panel_shape": (3, 8)}, BadValue),
        ({"place": "gone/R"}, Failed),
        ({"place": "file"}, Refused),
        ({"place": "./R"}, Refused),
    ],
    ids=str,
)
def test_init_that_is_refused_leaves_nothing(
    world: World, arguments: dict[str, object], error: type[Exception]
) -> None:
    (world.root / "file").touch()
    there = new_repository(world.root / "R").identity
    before = sorted(str(path) for path in world.root.rglob("*"))
    with pytest.raises(error):
        jfstore.init(**{"place": "./new", "role": "test", **arguments})  # type: ignore[arg-type]
    assert sorted(str(path) for path in world.root.rglob("*")) == before
    assert jfstore.open("./R").identity == there


def test_init_among_foreign_files(world: World) -> None:
    (world.root / "R").mkdir()
    (world.root / "R" / "history.dcs").write_text("foreign")
    repository = jfstore.init("R", "test", panel_shape=SHAPE, zone="Europe/Zurich", detector="epix10k")
    assert repository.identity.zone == "Europe/Zurich"
    assert (world.root / "R" / "epix10k.h5").is_file()
    assert (world.root / "R" / "history.dcs").read_text() == "foreign"
    assert jfstore.verify(jfstore.open("R")).problems == ()


def test_newer_format_and_storage_are_refused(world: World) -> None:
    from dataclasses import replace

    from jfstore.core.encoding import encode_identity
    from tests.makers.repositories import put

    identity = new_repository(world.root / "R").identity
    for newer in (replace(identity, format=2), replace(identity, storage="tape")):
        put(world.root / "R" / "repository.json", encode_identity(newer))
        with pytest.raises(Refused, match="newer jfstore"):
            jfstore.open("R")
    put(world.root / "R" / "repository.json", b'{"format": 7, "anything": "else"}')
    with pytest.raises(Refused, match="newer jfstore"):
        jfstore.open("R")


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = new_repository(tmp_path / "R")
    assert jfstore.open("~/R").id == made.id


def test_a_home_directory_of_nobody_does_not_exist() -> None:
    with pytest.raises(jfstore.Failed, match="repository ~no such user/R does not exist"):
        jfstore.open("~no such user/R")


def test_a_repository_is_opened_by_a_name_a_path_or_a_url_only() -> None:
    with pytest.raises(jfstore.BadValue, match="not by int"):
        jfstore.open(5)  # type: ignore[arg-type]


def test_a_bucket_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore.store")  # its modules cannot be loaded a second time
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(jfstore.Failed, match=r"pip install 'obstore>=0\.8"):
        jfstore.open("s3://bucket/place")
