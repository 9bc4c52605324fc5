"""Conversion of every kind of file, of real sets, and of bad rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from tabstar_lit.commands.cli import main
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.antibody.conversion.config import PairSource, read_conversion
from tabstar_lit.families.antibody.conversion.convert import Report, convert_pairs
from tabstar_lit.families.antibody.conversion.tables import read_table
from tabstar_lit.families.antibody.pairs.file import read_pairs

HEAVY = (
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQ"
    "GTLVTVSS"
)
LIGHT = "DIQMTQSPSSLSASVGDRVTITCRASQDVNTAVAWYQQKPGKAPKLLIYSASFLYSGVPSRFSGSRSGTDFTLTISSLQPEDFATYYCQQHYTTPPTFGQGTKVEIK"
OTHER_HEAVY = HEAVY.replace("SRWGGDGFYAMDY", "ARDRGYYFDY")
ANTIGEN, OTHER_ANTIGEN = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", "GSHMWCPLDKEYNFTRAVHQWLLKDEPTNYIAG"
SEED_KEYS = {"antigen_sequence": ANTIGEN, "antibody_heavy": HEAVY, "antibody_light": LIGHT, "pKd": "8.5"}
PKD: dict[str, Any] = {"column": "pKd"}


def convert(folder: Path, config: dict[str, Any]) -> Report:
    """Convert what a configuration in ``folder`` names."""
    path = folder / "conversion.yaml"
    path.write_text(yaml.safe_dump(config))
    return convert_pairs(read_conversion(path), folder / "pairs.h5")


def converted(folder: Path, rows: list[dict[str, str]], source: dict[str, Any] | None = None, **more: Any) -> Report:
    """Convert rows of a CSV file."""
    pd.DataFrame(rows).to_csv(folder / "pairs.csv", index=False)
    return convert(folder, {"sources": [{"file": "pairs.csv", "affinity": PKD, **(source or {})}], **more})


def write_fasta(folder: Path) -> None:
    (folder / "pairs.fasta").write_text(f">one antigen_sequence={ANTIGEN} pKd=8.5\n{HEAVY}GGGGSGGGGSGGGGS{LIGHT}\n")


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "json", "jsonl", "parquet", "fasta"])
def test_every_kind_of_file_gives_the_same_pair(tmp_path: Path, kind: str) -> None:
    frame, path = pd.DataFrame([SEED_KEYS]), tmp_path / f"pairs.{kind}"
    numbers = [{**SEED_KEYS, "pKd": 8.5}]
    match kind:
        case "csv" | "csv.gz":
            frame.to_csv(path, index=False)
        case "tsv":
            frame.to_csv(path, index=False, sep="\t")
        case "json":
            path.write_text(json.dumps(numbers))
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, numbers)))
        case "parquet":
            pd.DataFrame(numbers).to_parquet(path)
        case _:
            write_fasta(tmp_path)
    source: dict[str, Any] = {"file": path.name, "affinity": PKD}
    if kind == "fasta":
        source["antibody"] = ["sequence"]
    pairs = convert(tmp_path, {"sources": [source]}).pairs
    assert (pairs.antigens, pairs.antibodies) == ((ANTIGEN,), (f"{HEAVY}|{LIGHT}",))
    assert pairs.pkd.tolist() == [8.5]


def test_chains_are_recognised_whatever_their_order(tmp_path: Path) -> None:
    rows = [
        SEED_KEYS,
        {**SEED_KEYS, "antibody_heavy": LIGHT, "antibody_light": OTHER_HEAVY},
        {**SEED_KEYS, "antibody_heavy": OTHER_HEAVY, "antibody_light": OTHER_HEAVY},
        {**SEED_KEYS, "antibody_heavy": "", "antibody_light": LIGHT},
    ]
    report = converted(tmp_path, rows)
    texts = (f"{HEAVY}|{LIGHT}", f"{OTHER_HEAVY}|{LIGHT}", OTHER_HEAVY, f"|{LIGHT}")
    assert report.pairs.antibodies == texts
    forms = report.pairs.about["sources"][0]["forms"]
    assert forms == {"heavy and light": 2, "heavy alone": 1, "light alone": 1}


def test_constant_domains_are_cut_off_or_kept(tmp_path: Path) -> None:
    long = {**SEED_KEYS, "antibody_heavy": f"{HEAVY}ASTKGPSVFPLAPSSKS", "antibody_light": f"MKYL{LIGHT}RTVAAPSV"}
    assert converted(tmp_path, [long]).pairs.antibodies == (f"{HEAVY}|{LIGHT}",)
    whole = converted(tmp_path, [long], domains="whole").pairs
    assert whole.antibodies == (f"{HEAVY}ASTKGPSVFPLAPSSKS|MKYL{LIGHT}RTVAAPSV",)
    regions = whole.regions[0]
    assert regions[: len(HEAVY)].all()
    assert not regions[len(HEAVY) : len(HEAVY) + 22].any()
    third = "".join(letter for letter, own in zip(whole.antibodies[0], regions, strict=True) if own == 13)
    assert third == "QQHYTTPPT"


def test_a_whole_single_chain_is_cut_in_the_linker(tmp_path: Path) -> None:
    row = {**SEED_KEYS, "antibody_heavy": f"{HEAVY}GGGGSGGGGS{LIGHT}AA", "antibody_light": ""}
    pairs = converted(tmp_path, [row], domains="whole").pairs
    assert pairs.antibodies == (f"{HEAVY}GGGGS|GGGGS{LIGHT}AA",)
    assert pairs.about["sources"][0]["forms"] == {"single chain Fv": 1}
    assert len(pairs.regions[0]) == len(pairs.antibodies[0])


def test_equal_pairs_are_one_and_chains_of_an_antigen_are_joined(tmp_path: Path) -> None:
    rows = [{**SEED_KEYS, "second": OTHER_ANTIGEN, "pKd": pkd} for pkd in ("8", "9", ">10", "")]
    report = converted(tmp_path, rows, {"antigen": ["antigen_sequence", "second"]})
    assert report.pairs.antigens == (f"{ANTIGEN}|{OTHER_ANTIGEN}",)
    assert report.pairs.pkd.tolist() == [8.5]
    assert report.pairs.about["merged"] == 3


def test_an_antigen_need_not_be_known(tmp_path: Path) -> None:
    pairs = converted(tmp_path, [SEED_KEYS], {"antigen": [], "affinity": None}).pairs
    assert pairs.antigens == ("",)
    assert np.isnan(pairs.pkd).all()


BAD = {
    "the antigen is empty": {"antigen_sequence": " "},
    "the antibody is empty": {"antibody_heavy": "", "antibody_light": ""},
    "antibody_heavy: letter 3 is '*', a stop codon": {"antibody_heavy": "EV*LVES"},
    "antibody_light: letter 4 is '-', a gap": {"antibody_light": "DIQ-MT"},
    "antigen_sequence: letter 2 is '1', no amino acid": {"antigen_sequence": "M1K"},
    "no variable domain of an antibody": {"antibody_heavy": ANTIGEN, "antibody_light": ""},
    "2 different heavy chains": {"antibody_light": OTHER_HEAVY},
    "the affinity 'high' is no number": {"pKd": "high"},
    "kind and unit do not fit": {"pKd": "900"},
}


@pytest.mark.parametrize(("why", "change"), BAD.items())
def test_a_bad_row_is_counted_with_its_place_or_refused(tmp_path: Path, why: str, change: dict[str, str]) -> None:
    rows = [SEED_KEYS, {**SEED_KEYS, **change}, {**SEED_KEYS, **change}]
    report = converted(tmp_path, rows)
    ((reason, told),) = report.pairs.about["sources"][0]["left_out"].items()
    assert why in reason
    assert told == "2, the first is row 2"
    with pytest.raises(DataError, match=r"pairs\.csv: row 2: .*bad_rows: skip"):
        converted(tmp_path, rows, bad_rows="refuse")


def test_lower_case_is_read_and_unknown_letters_are_counted(tmp_path: Path) -> None:
    rows = [{**SEED_KEYS, "antibody_heavy": HEAVY.lower(), "antigen_sequence": f"BZXU{ANTIGEN}"}]
    pairs = converted(tmp_path, rows).pairs
    assert pairs.antibodies == (f"{HEAVY}|{LIGHT}",)
    assert pairs.antigens == (f"BZXU{ANTIGEN}",)
    assert sum(pairs.about["sources"][0]["notes"].values()) == 1


def test_a_file_without_any_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no row of the sources is a pair.*the antigen is empty.*first is row 1"):
        converted(tmp_path, [{**SEED_KEYS, "antigen_sequence": ""}])
    assert not (tmp_path / "pairs.h5").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"antibody": ["antibody_heavi"]}, r"no column 'antibody_heavi'.*Did you mean 'antibody_heavy'"),
        ({"affinity": {"column": "pkd"}}, r"no column 'pkd'.*Did you mean 'pKd'"),
        ({"affinity": {"column": "pKd", "kind": "kd"}}, "kind: kd needs a unit: M, mM"),
        ({"affinity": {"column": "pKd", "kind": "delta_delta_g", "unit": "kJ/mol"}}, "needs reference"),
        ({"where": {"assay": "SPR"}}, "no column 'assay'"),
    ],
)
def test_a_wrong_key_is_located(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"conversion\.yaml:\d+:\d+: .*{message}"):
        converted(tmp_path, [SEED_KEYS], change)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pairs.csv", b"", "cannot be read as csv"),
        ("pairs.json", b"{not json", "cannot be read as json"),
        ("pairs.parquet", b"PAR1", "cannot be read as parquet"),
        ("pairs.csv.gz", b"plain text", "cannot be read as csv"),
        ("pairs.xlsx", b"", "unknown kind of file; give 'format'"),
        ("pairs.fasta", b"ACD", "a sequence without a name"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        convert(tmp_path, {"sources": [{"file": name}]})


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    assert converted(tmp_path, [SEED_KEYS]).written
    assert not converted(tmp_path, [SEED_KEYS]).written
    assert converted(tmp_path, [{**SEED_KEYS, "pKd": "8.6"}]).written


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pairs.h5").write_text("mine")
    with pytest.raises(DataError, match="not overwritten"):
        converted(tmp_path, [SEED_KEYS])
    assert (tmp_path / "pairs.h5").read_text() == "mine"


def test_a_program_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="numbering: anarci is not installed"):
        converted(tmp_path, [SEED_KEYS], numbering="anarci")


def test_another_program_gives_the_same_pair(tmp_path: Path) -> None:
    own = converted(tmp_path, [SEED_KEYS]).pairs
    other = converted(tmp_path, [SEED_KEYS], numbering="anarcism").pairs
    assert other.about["numbering"].startswith("anarcism")
    assert other.antibodies == own.antibodies
    assert other.regions.flat.tolist() == own.regions.flat.tolist()


EXAMPLES = {
    "biomap": (1222, 142, {"heavy and light", "single chain Fv"}),
    "nanobodies": (956, 193, {"heavy alone"}),
    "abbind": (692, 10, {"heavy and light"}),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_real_sets_are_converted_by_the_shipped_examples(
    tmp_path: Path, repository: Path, shared_data: Path, name: str
) -> None:
    n_pairs, n_clusters, forms = EXAMPLES[name]
    for path in (shared_data / "antibody").iterdir():
        (tmp_path / path.name).symlink_to(path.resolve())
    config = tmp_path / f"{name}.yaml"
    config.write_text((repository / "examples" / "antibody" / config.name).read_text())
    output = tmp_path / "pairs.h5"
    result = CliRunner().invoke(main, ["convert", "antibody", str(config), "-o", str(output)])
    assert result.exit_code == 0, result.output
    pairs = read_pairs(output)
    assert (len(pairs), len(set(pairs.clusters.tolist()))) == (n_pairs, n_clusters)
    assert set(pairs.about["sources"][0]["forms"]) == forms
    shown = CliRunner().invoke(main, ["data", "show", str(output), "-o", str(tmp_path / "figures")])
    assert f"{n_pairs} pairs" in shown.output
    assert len(list((tmp_path / "figures").glob("*.png"))) >= 4


def test_designed_loops_are_put_into_the_parent(tmp_path: Path, repository: Path, shared_data: Path) -> None:
    """The shipped example of HER2 binders, with the first rows of each file."""
    folder = shared_data / "antibody"
    for name in ("alphabind_her2_scfv.csv.gz", "absci_her2_spr_controls.csv", "absci_her2_zero_shot.csv"):
        pd.read_csv(folder / name, nrows=30, dtype=str).to_csv(tmp_path / name, index=False)
    (tmp_path / "her2_trastuzumab.fasta").write_text((folder / "her2_trastuzumab.fasta").read_text())
    config = yaml.safe_load((repository / "examples" / "antibody" / "her2.yaml").read_text())
    pairs = convert(tmp_path, config).pairs
    assert len(pairs.antigens) == 1
    loops = {
        "".join(letter for letter, own in zip(text, pairs.regions[row], strict=True) if own == 6)
        for row, text in enumerate(pairs.antibodies)
    }
    assert {"ARWGGYGFYAMDY", "TRYFFNGWYYFDV"} <= loops
    row = next(row for row, text in enumerate(pairs.antibodies) if "TRYFFNGWYYFDV" in text)
    assert pairs.pkd[row] == pytest.approx(9.03, abs=0.01)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.tsv.gz"])
def test_unicode_text_of_a_spreadsheet_is_read(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"antibody_heavy": ["EVQL", "QVQL"], "antigen_name": ["Köln", "1"]})
    frame.to_csv(tmp_path / name, sep="\t" if ".tsv" in name else ",", index=False, encoding="utf-16")
    pd.testing.assert_frame_equal(read_table(tmp_path / name, PairSource(file=name)).astype(str), frame)
