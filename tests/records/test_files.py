"""Files are written whole or not at all, and what a killed writer leaves behind is nothing that git takes."""

import errno
import pathlib
import signal
import subprocess
import sys

import pytest

from quantguard.records import files
from quantguard.records.files import try_writing, write_together, write_whole

# It is killed, as by a power cut, at the step whose number it is given: before each change of a folder, each opening of
# a file and each flush to the disk. It ends well where it has fewer steps.
WRITER = """
import os, pathlib, signal, sys
from quantguard.records.files import write_together

steps, last = 0, int(sys.argv[1])

def step():
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)

def flush(descriptor, before=os.fsync):
    step()
    before(descriptor)

def watch(event, arguments):
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") and armed:
        step()

armed, os.fsync = False, flush
sys.addaudithook(watch)
armed = True
write_together({pathlib.Path(f"stored/a/{name}.json"): "new " * 5000 for name in ("first", "second")})
armed = False
"""
OLD, NEW = "old", "new " * 5000


def git(folder: pathlib.Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.timeout(300)
def test_a_writer_that_is_killed_at_any_step_leaves_nothing_that_git_takes(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "stored/a"
    folder.mkdir(parents=True)
    git(tmp_path, "init")
    for number in range(1, 100):
        for name in ("first.json", "second.json"):
            (folder / name).write_text(OLD)
        ended = subprocess.run([sys.executable, "-c", WRITER, str(number)], cwd=tmp_path, check=False)
        left = {path.name for path in folder.iterdir() if not path.name.startswith(files.SCRATCH_PREFIX)}
        assert left == {"first.json", "second.json"}
        assert {path.read_text() for path in folder.glob("*.json")} <= {OLD, NEW}
        git(tmp_path, "add", "--all", "--force", ".")
        assert git(tmp_path, "ls-files").split() == ["stored/a/first.json", "stored/a/second.json"]
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
    # Two folders, two files and two flushes at least.
    assert number > 8
    assert list(folder.glob(f"{files.SCRATCH_PREFIX}*")), "no writer was killed in the middle"


def test_a_plain_temporary_file_would_be_taken(tmp_path: pathlib.Path) -> None:
    git(tmp_path, "init")
    (tmp_path / ".first.json.x.tmp").touch()
    git(tmp_path, "add", ".")
    assert git(tmp_path, "ls-files").split() == [".first.json.x.tmp"]


def test_a_write_that_ends_leaves_the_file_alone_in_its_folder(tmp_path: pathlib.Path) -> None:
    write_whole(tmp_path / "new/file.json", "text")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.json"]
    assert (tmp_path / "new/file.json").read_text() == "text"


def test_of_several_files_none_is_written_where_one_cannot_be(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(OLD)
    second.mkdir()
    with pytest.raises(IsADirectoryError):
        write_together({first: NEW, second: NEW})
    second.rmdir()
    written: list[str] = []

    def full_disk(path: pathlib.Path, text: str) -> None:
        written.append(text)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text(text)

    monkeypatch.setattr(files, "_write_down", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_together({first: NEW, second: NEW})
    assert first.read_text() == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["first.json"]


def test_a_link_stays_a_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "elsewhere.json")
    write_whole(tmp_path / "link.json", "text")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "elsewhere.json").read_text() == "text"


def test_a_folder_is_tried_before_it_is_there_and_nothing_is_left(tmp_path: pathlib.Path) -> None:
    try_writing(tmp_path / "not/there/yet")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        try_writing(tmp_path / "file/below")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="No such file"):
        try_writing(tmp_path / "dangling/below")
