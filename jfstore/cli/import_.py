"""``jfstore import``: import constants from files of other programs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Once, Parser, about_of, add_about, add_accept, add_time, add_types, add_write_options
from jfstore.cli.output import progress
from jfstore.cli.writing import add_confirmed, open_to_write

if TYPE_CHECKING:
    from jfstore.repository.adding import Added

EPILOG = """\
A directory is a gain tree. A name <panel Id>-<stamp> in it becomes a version; <panel Id> alone is valid from the
beginning. The name is a directory of g0_gain.npy ... g2_offset.npy, or a link to one in the same tree. Other names are
reported and skipped; the exit code is then 1. Content that the panel had at that stamp before is skipped, so that an
import can be repeated.

A file jungfrau-<detector Id>.h5 is a file of the Detector Calibration Store (dcs). Each of its versions of gains and
offsets becomes a version of every panel of the detector. The commit records its start, number, message, history and
time of production; a start of 0 is the year 1970. Each version is imported once. A version that cannot be stored is
skipped and reported with the reason, and so are the versions that it replaced, and all of its calibration type if
earlier constants would be valid in its place; the exit code is then 1.

A directory with Jungfrau::CalibV1 in it is a calibration directory of psana1, with files <run>-end.data and
<run>-<last run>.data of all calibration types. For each run of the experiment, whose XTC files say the start and the
panels, the repository then answers with the constants that psana takes. Each panel gets a version where that changes,
and is closed where psana takes nothing, or a file that cannot be stored. Files and runs that cannot be used are
reported with the reason; the exit code is then 1. -e names the experiment of a copy, and -d chooses a Jungfrau.
docs/importing.md has the details.

A directory of panels, <panel Id>/<type>/<name>-g0.data and so on, or one with such a directory jungfrau in it, is a
panel repository of LCLS-II. The texts of a panel with one stamp become a version; experiment and dark run are in its
about. Merged files are read where those of panels are missing.

Files gainMaps_M044.bin, or a directory of them, are gain maps of PSI. A panel must have the name of the module, M044
(see jfstore panel --name), or --panels says it; -T says from when on they are valid. The maps of the high gain become
pixel_gain_hg0. A file gains.h5 or *.res.h5 of SwissFEL has the gains, or pedestals, noise and mask, of the modules of a
detector; docs/importing_psi.md has the details.

psana2:NAME is a detector in psana2's calibration database, by its short name such as jungfrau_000003, or its Id. Each
of its documents becomes a version of each panel, valid from the start of its run on; experiment, run, range and version
are in its about. docs/importing_psana2.md tells how psana2's two rules of choice differ from that of jfstore.

The name of a file, or the names in a directory, tell the kind of the source. --kind overrides them.

The guard judges new constants first: signs and magnitude, the order of the gain ranges, and for panels of real size
whether they are those of this panel. If it finds something, nothing is stored, and the exit code is 5. --accept stores
the constants all the same, and the commit says so. docs/guard.md describes the findings.

examples:
  jfstore import /reg/g/psdm/detector/gains/jungfrau -m "legacy gains" --repo test
  jfstore import jungfrau-171113-154920171025-3d00fb.h5 -m "from dcs" --repo test
  jfstore import /reg/d/psdm/MFX/mfxls0816/calib -m "as psana takes them" --repo test
  jfstore import /sdf/group/lcls/ds/ana/detector/calib2/constants -t pedestals -m "darks" --repo test
  jfstore import psana2:jungfrau_000003 -t pedestals -m "from psana2" --repo test
  jfstore import run_000042.JF07T32V01.res.h5 --panels $DETECTOR -T 20240301120000 -m "pedestals" --repo test
  jfstore import gainMaps_M044_2017-09-21.bin -T 20170921000000 -m "from PSI" --repo test
"""

_OPTIONS = {
    "recover": "--recover",
    "experiment": "-e",
    "source": "-d",
    "types": "-t",
    "panels": "--panels",
    "time": "-T",
    "contents": "--contents",
    "url": "--url",
}
"""Options of single kinds of sources, by the name of the parameter."""


def add_options(parser: Parser) -> None:
    text = "a gain tree, a DCS file, a calibration directory, a panel repository, or files of PSI or SwissFEL"
    parser.add_argument("path", metavar="SOURCE", help=text)
    text = "what the source is, if names do not tell: gains, dcs, calibdir, panels, psi, swissfel or psana2"
    parser.add_argument("--kind", metavar="KIND", help=text)
    text = (
        "experiment of a calibration directory, if its path does not say it; or whose documents psana2's database has"
    )
    parser.add_argument("-e", "--experiment", metavar="EXP", action=Once, help=text)
    text = "which Jungfrau of a calibration directory: a source, or a part of one (default: all)"
    parser.add_argument("-d", "--detector", dest="source", metavar="SOURCE", action=Once, help=text)
    add_types(parser, "only this type of a panel repository or of psana2's database; may be repeated (default: all)")
    text = "the panel of each module, if no panel has its name: M044=ID,M088=ID, or the Ids in the order of the file"
    parser.add_argument("--panels", metavar="PANELS", action=Once, help=text)
    add_time(parser, "start of validity of gain maps of PSI, or of a file of SwissFEL")
    text = "whether a file of SwissFEL has gains or pedestals, if its name and its datasets do not tell"
    parser.add_argument("--contents", choices=("gains", "pedestals"), help=text)
    text = "URL of the service of psana2's database (default: LCLS_CALIB_HTTP, else that of LCLS)"
    parser.add_argument("--url", metavar="URL", action=Once, help=text)
    text = "also import versions of a DCS file that lost their number because Python 3 wrote them"
    parser.add_argument("--recover", action="store_true", help=text)
    add_about(parser, "a short text that every version carries, such as report=R7; may be repeated")
    add_accept(parser)
    add_write_options(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.importing import check_options, find_kind, import_source

    repository = open_to_write(args)
    kind, texts = find_kind(args.path, args.kind), about_of(args)
    given = {name: value for name in _OPTIONS if (value := getattr(args, name)) not in (None, False, [])}
    check_options(kind, args.path, {name: _OPTIONS[name] for name in given})

    def add(dry_run: bool) -> Added:
        with progress("import") as show:
            options: dict[str, Any] = {"request": args.request, "dry_run": dry_run, "progress": show, "about": texts}
            options |= {"accept": args.accept, "kind": kind.name, **given}
            return import_source(repository, args.path, args.message, **options)

    added = add_confirmed(args, repository, add)
    understood = kind.may_be_empty or added.versions or added.unchanged
    return 1 if added.skipped or not understood else 0
