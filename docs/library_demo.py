"""The day of ``jfstore demo``, in Python.

The directory has the gain tree, the new constants and the XTC files that ``jfstore demo DIR`` makes, and
``SIT_PSDM_DATA`` names its ``psdm``. The story is told in the order of the command line's demo.
"""

import jfstore

PANEL = "171113-154920171025-3d00fb"
DETECTOR = "170505-149520170815-3d00b0_170505-149520170815-3d00f7"
RUN = "exp=xcsls3716:run=631"
MODERN = "exp=mfx101332224"


def play(root: str) -> dict[str, object]:
    """Play the story in a directory, and return the arrays and records that it ends with.

    Parameters
    ----------
    root : str
        The directory; it must not have the repositories ``library-test``, ``library-real`` and ``library-copy``.
    """
    test = jfstore.init(f"{root}/library-test", "test")
    real = jfstore.init(f"{root}/library-real", "real")

    # The maintainer imports the gain tree into the test repository.
    imported = test.import_gains(f"{root}/gains", "legacy gains")
    print(f"commit {imported.seq}: {len(imported.versions)} versions")

    # An admin lists what is stored.
    for version in test.list():
        print(version.name, ", ".join(version.types), "by", version.user)

    # An analyst gets the gains of a detector of two panels that were valid on 2017-12-05.
    gain = test.get(DETECTOR, "pixel_gain", "20171205161400")
    print(gain.shape, gain.dtype)

    # The maintainer adds a second version of a panel's constants; the dry run shows which answers change.
    words = (PANEL, "20180306000000", f"{root}/M044-new", "lowest range measured again")
    for change in test.add(*words, dry_run=True).changes:
        print(f"{change.type}: {change.before} -> {change.after} from {change.start}")
    added = test.add(*words)
    print(f"commit {added.seq}: {added.versions[0].name}")

    # After a check, it is promoted to the real repository, with the panels of the detector.
    names = [f"{PANEL}/20180306000000/v2", *(f"{panel}/20171025000000/v1" for panel in DETECTOR.split("_"))]
    promoted = real.promote(names, "checked with run 689", source=test)
    print(f"commit {promoted.seq}: {len(promoted.versions)} versions")

    # Analysis asks by run: its XTC files say which panels the detector has and when the run started.
    print(jfstore.run(RUN).detector_id)
    answer = real.find(RUN)
    print(answer)
    arrays = {name: answer[name] for name in answer.types}

    # Local files, and the files that psana reads; the audit says whether those are still right.
    generated = jfstore.generate(RUN, repo=real, directory=root, replace=True)
    deployed = jfstore.deploy(RUN, repo=real, calibdir=f"{root}/library-calib")
    audit = jfstore.audit(f"{root}/library-calib", experiment="xcsls3716", repo=real)
    print(len(generated.written), "files,", ", ".join(file.state for file in deployed.deployed))

    # Somebody confuses files, and adds gains as offsets: the guard refuses.
    try:
        test.add(DETECTOR, "20180601000000", {"pixel_offset": gain}, "new offsets")
    except jfstore.Refused as error:
        print(error)

    # A mistake that no guard can find: gains of November 2018 get a stamp of 2017, and are promoted with it.
    new = {"pixel_gain": f"{root}/gain-2018.npy"}
    wrong = [version.name for version in test.add(DETECTOR, "20171101000000", new, "gains of November").versions]
    before = real.history()[-1].seq
    real.promote(wrong, "gains of November", source=test)
    mistaken = real.get(RUN, "pixel_gain")

    # An analyst asks for the reason: the version that is valid, and why each other one is not.
    for explained in real.explain(RUN, "pixel_gain"):
        print(explained.valid, *(f"{c.name} {c.reason}" for c in explained.candidates if c.reason), sep="; ")

    # The maintainer takes them back. The report says which answers and runs that concerns; nothing is lost.
    why = "the stamp should be 20181101000000"
    impact = jfstore.impact(real.withdraw(wrong, why, dry_run=True), repo=real)
    withdrawn = real.withdraw(wrong, why)
    for change in withdrawn.changes:
        print(f"{change.panel}: {change.after} in place of {change.before} from {change.start}")
    states = {
        "mistaken": mistaken,
        "withdrawn": real.get(RUN, "pixel_gain"),
        "before": real.get(RUN, "pixel_gain", as_of=before),
        "as of the mistake": real.get(RUN, "pixel_gain", as_of=withdrawn.seq - 1),
    }
    print(f"{len(impact.runs)} runs are concerned")
    for commit in real.history(last=3):
        print(commit.seq, commit.op, commit.message)

    # A detector of today, in LCLS-II: nominal gains until they are measured, and pedestals of two dark runs.
    nominal = {"pixel_gain": (41.5, -1.39, -0.11), "pixel_offset": 0.0}
    test.add(f"{MODERN}:run=5", None, nominal, "nominal gains")
    test.import_panel_repository(f"{root}/constants", "dark runs 5 and 8")
    pedestals = {run: test.get(f"{MODERN}:run={run}", "pedestals") for run in (7, 9)}

    # In run 20 a panel has new firmware, and so a new Id. The repository proposes which one it was; people decide.
    coverage = jfstore.runs_with_constants(MODERN.removeprefix("exp="), test)
    print(sum(one.missing is not None for one in coverage.constants), "runs lack constants")
    for proposal in test.propose_panels(runs=coverage.runs.runs):
        if proposal.panel.sightings:
            test.join_panels(proposal.panel.id, proposal.other.id, "new firmware")

    # A copy elsewhere, in another storage; every stored byte is checked.
    mirrored = jfstore.mirror(real, f"{root}/library-copy", storage="zarr")
    reports = [jfstore.verify(repository) for repository in (test, real, mirrored.copy)]
    print(sum(len(report.problems) for report in reports), "problems in", len(reports), "repositories")
    records = {"pedestals": pedestals, "audit": audit, "impact": impact, "mirrored": mirrored, "reports": reports}
    return {"arrays": arrays, "states": states, "wrong": wrong, "real": real, "test": test, **records}
