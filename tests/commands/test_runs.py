from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock
from runs_fixture import append, write_run

from tabstar_lit.commands.runs import new_lines, runs
from tabstar_lit.engine.runs.files import RunFiles


def invoke(save_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(runs, [*arguments, "--save-dir", str(save_dir)])


@pytest.fixture
def save_dir(tmp_path: Path) -> Path:
    write_run(tmp_path, "second", lr=0.002, status="interrupted")
    write_run(tmp_path, "first", lr=0.001)
    return tmp_path


def test_list_shows_every_run_oldest_first(save_dir: Path) -> None:
    lines = invoke(save_dir, "list").output.splitlines()
    assert lines[0].split() == ["run", "status", "stage", "epochs", "monitor", "best", "created"]
    assert lines[1].split()[:6] == ["physics/first", "finished", "pretrain", "3", "val_loss", "0.1"]
    assert lines[2].split()[:6] == ["physics/second", "interrupted", "pretrain", "3", "val_loss", "–"]


def test_list_of_nothing(tmp_path: Path) -> None:
    assert invoke(tmp_path, "list").output == f"no runs in {tmp_path}\n"
    assert json.loads(invoke(tmp_path, "list", "--json").output) == []


def test_list_for_programs(save_dir: Path) -> None:
    first, second = json.loads(invoke(save_dir, "list", "--json").output)
    assert (first["name"], first["status"], first["stages"]["pretrain"]["best_score"]) == (
        "physics/first",
        "finished",
        0.1,
    )
    assert second["status"] == "interrupted"


def test_a_run_whose_process_was_killed_is_not_called_running(tmp_path: Path) -> None:
    root = write_run(tmp_path, status="running")
    assert RunFiles(root).status == "died"
    with FileLock(root / ".lock"):
        assert RunFiles(root).status == "running"


def test_show_has_a_table_and_a_curve(save_dir: Path) -> None:
    output = invoke(save_dir, "show", "first").output
    assert "stage pretrain finished: best val_loss 0.1" in output
    header, *rows = [line.split() for line in output.splitlines()[4:8]]
    assert header == ["epoch", "lr", "train_loss", "val_loss", "epoch_seconds", "rss_mib"]
    assert rows[2] == ["2", "0.001", "0.33333", "0.1", "1.5", "202"]
    assert "val_loss over steps" in output
    assert "\n2.1 ┤⠉" in output
    assert output.splitlines()[-1].split() == ["4", "12"]


def test_show_draws_the_metric_asked_for(save_dir: Path) -> None:
    output = invoke(save_dir, "show", "physics/first", "-m", "val_auc/iris").output
    assert "val_auc/iris over steps\n0.7 ┤" in output
    assert "val_loss over steps" not in output


def test_show_for_programs(save_dir: Path) -> None:
    shown = json.loads(invoke(save_dir, "show", "first", "--json", "-m", "val_loss").output)
    assert shown["epochs"]["pretrain"]["2"]["val_auc/iris"] == 0.7
    assert [point["step"] for point in shown["series"]["val_loss"]] == [4, 8, 12]
    assert shown["config"]["model_config.training_config.optimizer.optimizer_params.lr"] == "0.001"


def test_a_run_is_also_found_by_its_directory(save_dir: Path) -> None:
    output = CliRunner().invoke(runs, ["show", str(save_dir / "physics" / "first")]).output
    assert output.startswith("physics/first  finished")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "frist"), "No run 'frist' in {0}. Did you mean 'first'"),
        (("show", "xyzzy"), "`tabstar_lit runs list` shows what there is"),
        (("show", "first", "-m", "val_los"), "no metric 'val_los'. Did you mean 'val_loss'"),
        (("compare", "first", "third"), "No run 'third'"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(save_dir: Path, arguments: tuple[str, ...], message: str) -> None:
    result = invoke(save_dir, *arguments)
    assert result.exit_code == 2
    assert message.format(save_dir) in result.output


def test_a_name_of_several_runs_must_be_whole(save_dir: Path) -> None:
    (save_dir / "other").mkdir()
    (save_dir / "physics" / "first").rename(save_dir / "other" / "second")
    result = invoke(save_dir, "show", "second")
    assert result.exit_code == 2
    assert "Several runs are called 'second': other/second, physics/second" in result.output


def test_compare_shows_what_differs(save_dir: Path) -> None:
    output = invoke(save_dir, "compare", "first", "second").output
    rows = {line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:] for line in output.splitlines() if line}
    assert rows["model_config.training_config.optimizer.optimizer_params.lr"] == ["0.001", "0.002"]
    assert rows["pretrain: best val_loss"] == ["0.1", "–"]
    assert rows["pretrain: last val_loss"] == ["0.1", "0.2"]
    assert "max_epochs" not in output


def test_compare_for_programs(save_dir: Path) -> None:
    compared = json.loads(invoke(save_dir, "compare", "first", "second", "--json").output)
    assert compared["config"]["experiment_config.run_name"] == {
        "physics/first": "first",
        "physics/second": "second",
    }
    assert compared["metrics"]["pretrain: last val_auc/iris"] == {"physics/first": 0.7, "physics/second": 0.7}


def test_diff_says_what_differs_and_from_which_step_on(save_dir: Path) -> None:
    output = invoke(save_dir, "diff", "first", "second").output
    assert "optimizer_params.lr  0.001" in output
    assert "data: no differences" in output
    assert "program: no differences" in output
    assert output.splitlines()[-1] == "metrics: first difference in stage pretrain at step 2: lr 0.001 and 0.002"


def test_diff_compares_data_with_a_run_of_before_by_what_that_recorded(save_dir: Path) -> None:
    later = write_run(save_dir, "later")
    record = json.loads((later / "run.json").read_text())
    stage = record["stages"]["pretrain"]
    for earlier, expected in (["f00d"], {}), (["beef"], {"pretrain": {"physics/first": "f00d", "physics/later": "2"}}):
        stage |= {"data_fingerprint": "2", "earlier_data_fingerprints": earlier}
        (later / "run.json").write_text(json.dumps(record))
        assert json.loads(invoke(save_dir, "diff", "first", "later", "--json").output)["data"] == expected


def test_diff_finds_other_data_versions_and_the_step_that_differs_in_the_last_bit(save_dir: Path) -> None:
    other = write_run(save_dir, "other")
    record = json.loads((other / "run.json").read_text())
    record["versions"]["torch"] = "2.14.0"
    record["stages"]["pretrain"]["data_fingerprint"] = "beef"
    (other / "run.json").write_text(json.dumps(record))
    lines = (other / "metrics.jsonl").read_text().replace('"val_loss": 1.1,', '"val_loss": 1.1000000000000003,')
    (other / "metrics.jsonl").write_text(lines.replace('"epoch_seconds": 1.5', '"epoch_seconds": 9.0'))
    found = json.loads(invoke(save_dir, "diff", "first", "other", "--json").output)
    assert found["data"] == {"pretrain": {"physics/first": "f00d", "physics/other": "beef"}}
    assert found["program"] == {"versions.torch": {"physics/first": "2.13.0", "physics/other": "2.14.0"}}
    assert found["first_step"]["values"] == [1.1, 1.1000000000000003]
    assert (found["first_step"]["metric"], found["first_step"]["step"]) == ("val_loss", 8)


def test_diff_of_runs_of_different_length(save_dir: Path) -> None:
    longer = write_run(save_dir, "longer")
    assert invoke(save_dir, "diff", "first", "longer").output.endswith("no differences (pretrain to step 12)\n")
    append(longer, 3, 16, train_loss=0.1)
    ending = "as far as both go; physics/first has pretrain to step 12, physics/longer pretrain to step 16\n"
    assert invoke(save_dir, "diff", "first", "longer").output.endswith(ending)


def test_best_ranks_finished_and_stopped_runs_by_what_was_monitored(save_dir: Path) -> None:
    write_run(save_dir, "third", lr=0.0005)
    output = invoke(save_dir, "best").output
    names = [line.split()[0] for line in output.splitlines()[1:4]]
    assert names == ["physics/third", "physics/first", "physics/second"]
    assert "3 scores of 3 runs; smaller is better" in output
    assert output.splitlines()[-1].endswith("a|b.ckpt")
    assert len(invoke(save_dir, "best", "-n", "1").output.splitlines()) == 2 + 3
    (place,) = json.loads(invoke(save_dir, "best", "-n", "1", "--json").output)
    assert (place["run"], place["epoch"], place["metric"], place["value"]) == ("physics/third", 2, "val_loss", 0.05)


def test_best_by_another_metric_reads_its_best_epoch_and_finds_the_kept_checkpoint(save_dir: Path) -> None:
    root = save_dir / "physics" / "second"
    append(root, 3, 16, **{"val_auc/iris": 0.6})
    record = json.loads((root / "run.json").read_text()) | {"checkpoints_dir": str(save_dir / "models")}
    (root / "run.json").write_text(json.dumps(record))
    (save_dir / "models").mkdir()
    (save_dir / "models" / "kept.ckpt").touch()
    entry = {"stage": "pretrain", "epoch": 2, "kind": "top", "path": "kept.ckpt"}
    (root / "checkpoints.jsonl").write_text(json.dumps(entry) + "\n")
    refused = invoke(save_dir, "best", "-m", "val_auc/iris")
    assert refused.exit_code == 2
    assert "add --mode max, or --mode min" in refused.output
    first, second = json.loads(invoke(save_dir, "best", "-m", "val_auc/iris", "--mode", "max", "--json").output)
    assert (first["value"], first["epoch"], first["checkpoint"]) == (0.7, 2, None)
    assert (second["value"], second["checkpoint"]) == (0.7, str(save_dir / "models" / "kept.ckpt"))


def test_best_knows_what_is_better_when_larger(save_dir: Path) -> None:
    root = write_run(save_dir, "third", lr=0.003)
    record = json.loads((root / "run.json").read_text())
    record["stages"]["pretrain"]["larger_is_better"] = ["auc/iris"]
    (root / "run.json").write_text(json.dumps(record))
    assert "larger is better" in invoke(save_dir, "best", "-m", "val_auc/iris").output
    assert "smaller is better" in invoke(save_dir, "best", "-m", "train_loss").output
    assert "smaller is better" in invoke(save_dir, "best", "-m", "lr").output, "its tracker knows what is larger"


def test_of_runs_that_do_not_say_losses_alone_are_ranked_unasked(save_dir: Path) -> None:
    assert "smaller is better" in invoke(save_dir, "best", "-m", "train_loss").output
    assert "add --mode max, or --mode min" in invoke(save_dir, "best", "-m", "val_auc/iris").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("best", "-m", "val_lss", "--mode", "min"), "No run has the metric 'val_lss'. Did you mean 'val_loss'"),
        (("best", "-e", "chemistry"), "No run has a score yet"),
        (("diff", "first", "frist"), "No run 'frist'"),
    ],
)
def test_what_cannot_be_ranked_or_told_apart(save_dir: Path, arguments: tuple[str, ...], message: str) -> None:
    result = invoke(save_dir, *arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.fixture
def a_thousand_runs(save_dir: Path) -> Path:
    """Runs of 200 lines of metrics each."""
    text = (save_dir / "physics" / "first" / "metrics.jsonl").read_text() * 22
    record = (save_dir / "physics" / "first" / "run.json").read_text()
    for number in range(1000):
        root = save_dir / "many" / f"run{number}"
        root.mkdir(parents=True)
        (root / "metrics.jsonl").write_text(text.replace("0.6}", f"{0.6 + number / 1e6}}}"))
        (root / "run.json").write_text(record)
    return save_dir


def seconds(call: Callable[[], object]) -> float:
    """Of the processor; the better one of two calls."""
    found = []
    for _ in range(2):
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return min(found)


RANKINGS = [("best",), ("best", "-m", "val_auc/iris", "--mode", "max")]


@pytest.mark.clock
@pytest.mark.parametrize("arguments", RANKINGS)
def test_a_thousand_runs_are_ranked_in_the_time_that_reading_takes(
    a_thousand_runs: Path, arguments: tuple[str, ...]
) -> None:
    """With the metrics of every run read, where those asked for are not in its summary."""

    def read() -> None:
        for file in a_thousand_runs.rglob("metrics.jsonl"):
            for line in file.read_text().splitlines():
                json.loads(line)

    assert "of 1002 runs" in invoke(a_thousand_runs, *arguments).output
    assert seconds(lambda: invoke(a_thousand_runs, *arguments)) < 1.5 * seconds(read)


@pytest.mark.soak
@pytest.mark.clock
@pytest.mark.parametrize("arguments", RANKINGS)
def test_a_thousand_runs_are_ranked_within_a_second(a_thousand_runs: Path, arguments: tuple[str, ...]) -> None:
    assert seconds(lambda: invoke(a_thousand_runs, *arguments)) < 1.0


def test_follow_prints_what_comes_and_ends_with_the_run(tmp_path: Path) -> None:
    root = write_run(tmp_path, status="running")
    lock = FileLock(root / ".lock")
    lock.acquire()
    seen: list[str] = []
    follower = threading.Thread(target=lambda: seen.extend(new_lines(RunFiles(root), ["val_loss"], 0.02)))
    follower.start()
    time.sleep(0.2)
    assert follower.is_alive()
    with (root / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "pretrain", "epoch": 3, "step": 16, ')
        file.flush()
        time.sleep(0.1)  # a line is being written
        file.write('"time": 1.8e9, "val_loss": 0.0625}\n')
    append(root, 3, 16, another=1.0)
    record = json.loads((root / "run.json").read_text())
    (root / "run.json").write_text(json.dumps(record | {"status": "finished"}))
    lock.release()
    follower.join(10)
    assert not follower.is_alive()
    assert len(seen) == 4
    assert seen[-1].endswith("pretrain  epoch 3  step 16  val_loss 0.0625")


def test_follow_of_a_run_that_is_over_prints_it_all(save_dir: Path) -> None:
    lines = invoke(save_dir, "show", "second", "--follow").output.splitlines()
    assert len(lines) == 9 + 1
    assert lines[-1] == "physics/second interrupted"


def test_looking_at_runs_imports_nothing_heavy() -> None:
    code = (
        "import sys, tabstar_lit.commands.runs, tabstar_lit.commands.track\n"
        "heavy = {'torch', 'lightning', 'mlflow', 'pandas', 'numpy', 'matplotlib', 'comet_ml', 'transformers'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
