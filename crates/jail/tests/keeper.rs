//! Does a server end when it should, with all it started, and only then?
//!
//! Everything here is real processes. Each keeper gets a marker in its environment, which all
//! who stem from it inherit; at the end nobody with that marker may be left.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const BINARY: &str = env!("CARGO_BIN_EXE_kern-jail-test");

/// A command with a marker; ends who bears the marker when dropped.
struct Stage {
    marker: String,
}

impl Stage {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { marker: format!("KEEPER_TEST={}-{count}", std::process::id()) }
    }

    fn command(&self, program: &str) -> Command {
        let (name, value) = self.marker.split_once('=').unwrap();
        let mut command = Command::new(program);
        command.env(name, value).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn keep_with(&self, options: &[&str], server: &[&str]) -> Command {
        let mut command = self.command(BINARY);
        command.args([kern_jail::SUBCOMMAND, "--parent", &std::process::id().to_string()]);
        command.args(options).arg("--").args(server);
        command
    }

    fn keep(&self, server: &[&str]) -> Child {
        self.keep_with(&[], server).spawn().unwrap()
    }

    fn shell(&self, script: &str) -> Child {
        self.keep(&["sh", "-c", script])
    }

    fn bearers(&self) -> BTreeSet<i32> {
        processes()
            .filter(|id| {
                let text = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
                text.split(|&byte| byte == 0).any(|entry| entry == self.marker.as_bytes())
            })
            .collect()
    }

    /// Fails unless nobody is left within `limit`.
    fn all_gone_within(&self, limit: Duration) -> Duration {
        let start = Instant::now();
        loop {
            let left = self.bearers();
            if left.is_empty() {
                return start.elapsed();
            }
            assert!(start.elapsed() < limit, "left over: {:?}", left.iter().map(describe));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for id in self.bearers().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(id, Signal::KILL);
        }
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let files = std::fs::read_dir("/proc").unwrap().flatten();
    files.filter_map(|file| file.file_name().to_str()?.parse().ok())
}

fn describe(id: &i32) -> String {
    std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default()
}

fn id(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Waits until the server printed `line`.
fn expect_line(child: &mut Child, line: &str) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n") {
        let mut byte = [0];
        let stdout = child.stdout.as_mut().unwrap();
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "ended after {seen:?}");
        seen.push(byte[0]);
    }
    assert_eq!(String::from_utf8(seen).unwrap().trim_end(), line);
}

/// The keeper's exit code (negative: the signal that ended it) and how long it took.
fn wait(child: &mut Child) -> (i32, Duration) {
    let start = Instant::now();
    let status = child.wait().unwrap();
    (status.code().unwrap_or_else(|| -status.signal().unwrap()), start.elapsed())
}

fn millis(range: std::ops::Range<u64>) -> std::ops::Range<Duration> {
    Duration::from_millis(range.start)..Duration::from_millis(range.end)
}

#[test]
fn a_server_that_sees_the_end_of_its_input_ends_at_once() {
    for options in [&[][..], &["--by-group"]] {
        let stage = Stage::new();
        let mut child = stage.keep_with(options, &["cat"]).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
        let (code, took) = wait(&mut child);
        assert_eq!(code, 0);
        assert!(took < Duration::from_millis(400), "{took:?}");
        stage.all_gone_within(Duration::ZERO);
    }
}

#[test]
fn kern_sees_the_status_the_server_ended_with() {
    let check = |script: &str, expected: i32| {
        for options in [&[][..], &["--by-group"]] {
            let stage = Stage::new();
            let mut child = stage.keep_with(options, &["sh", "-c", script]).spawn().unwrap();
            assert_eq!(wait(&mut child).0, expected, "{script} {options:?}");
        }
    };
    check("exit 0", 0);
    check("exit 3", 3);
    check("exit 255", 255);
    check("kill -TERM $$", 128 + 15);
    check("kill -KILL $$", 128 + 9);
    check("kill -PIPE $$", 128 + 13);
    check("exec 0<&- 1>&- 2>&-; exit 4", 4);
}

#[test]
fn a_user_reads_why_a_server_cannot_start() {
    let folder = tempfile_folder();
    let file = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "text", 0o644);
    let orphan = file("orphan", "#!/no/such/interpreter\n", 0o755);
    let check = |program: &str, code: i32, parts: &[&str]| {
        let stage = Stage::new();
        let mut command = stage.keep_with(&[], &[program, "-y"]);
        let output = command.env("PATH", "/a:/b\n").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in parts {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    };
    let missing = "kern: cannot start \"npx\": No such file or directory \
                   (is it on PATH? PATH=/a:/b\\n)";
    check("npx", 127, &[missing]);
    check("/no/such/file", 127, &["\"/no/such/file\": No such file or directory\n"]);
    check(&orphan, 127, &["No such file", "interpreter"]);
    check(&plain, 126, &["Permission denied\n"]);
    check(folder.to_str().unwrap(), 126, &["Permission denied\n"]);
    std::fs::remove_dir_all(folder).unwrap();
}

fn tempfile_folder() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_wrong_command_line_or_parent_starts_nothing() {
    let check = |args: &[&str], code: i32, part: &str| {
        let stage = Stage::new();
        let mut command = stage.command(BINARY);
        let output = command.arg(kern_jail::SUBCOMMAND).args(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{text}");
        assert!(text.starts_with("kern: ") && text.contains(part), "{text}");
    };
    check(&["--", "echo", "started"], 2, "--parent");
    check(&["--parent", "1", "--", "echo", "started"], 125, "is gone");
}

#[test]
fn a_server_inherits_three_descriptors_and_no_signal_setting() {
    for options in [&[][..], &["--by-group"]] {
        let stage = Stage::new();
        let mut command = stage.keep_with(options, &[BINARY, "state"]);
        let (leak, _other_end) = std::io::pipe().unwrap();
        #[allow(unsafe_code)]
        // SAFETY: only system calls between fork and exec. The descriptor is ours.
        unsafe {
            command.pre_exec(move || {
                for fd in [3, 9, 200] {
                    let copied = libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&leak), fd);
                    assert_eq!(copied, fd);
                }
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                let mut all = std::mem::zeroed();
                libc::sigfillset(&raw mut all);
                libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
                Ok(())
            });
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&"fds [0, 1, 2]"), "{text}");
        assert!(lines.contains(&"SigBlk:\t0000000000000000"), "{text}");
        let ignored = lines.iter().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        // The Rust runtime of the server itself ignores SIGPIPE (13). The C library lets nobody
        // change its own (32, 33).
        let ignored = u64::from_str_radix(ignored, 16).unwrap() & !(0b11 << 31);
        assert_eq!(ignored, 1 << 12, "{text}");
        assert!(lines.iter().any(|line| line.starts_with("name ") && line.contains("jail-test")));
    }
}

#[test]
fn a_server_is_named_as_told() {
    let stage = Stage::new();
    let mut command = stage.keep_with(&["--argv0", "other"], &[BINARY, "state"]);
    let output = command.output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("\nname other\n"));
}

#[test]
fn kern_sees_a_closed_pipe_while_the_server_lives() {
    let stage = Stage::new();
    let mut child = stage.shell("echo up; exec 1>&- 2>&- 0<&-; exec sleep 60");
    expect_line(&mut child, "up");
    let start = Instant::now();
    let mut rest = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!((rest.len(), start.elapsed() < Duration::from_millis(500)), (0, true));
    // Nobody reads any more: EPIPE, once the last copy is closed.
    assert!(child.stdin.take().unwrap().write_all(b"x").is_err());
    assert_eq!(child.try_wait().unwrap(), None);
    kill_process_group(id(&child), Signal::TERM).unwrap();
    assert_eq!(wait(&mut child).0, 128 + 15);
}

/// Everybody who can be left behind: a child, one in a group and one in a session of its own,
/// an orphan of each kind, and one deep down; all deaf to SIGTERM and SIGHUP.
const FAMILY: &str = r#"trap '' TERM HUP
    sleep 61 & setsid sleep 62 & (sleep 63 &); (setsid sh -c 'sleep 64 & sleep 65' &)
    setsid setsid sh -c '(setsid sleep 66 &); (sleep 67 &); sh -c "sh -c \"sleep 68; :\"; :"' &
    sleep 0.2; echo up;"#;

#[test]
fn a_deaf_server_and_its_scattered_family_end_after_the_grace() {
    let stage = Stage::new();
    let mut child = stage.shell(&format!("{FAMILY} while :; do sleep 69; done"));
    expect_line(&mut child, "up");
    assert!(stage.bearers().len() >= 11, "{:?}", stage.bearers());
    kill_process_group(id(&child), Signal::TERM).unwrap();
    let (code, took) = wait(&mut child);
    assert_eq!(code, 128 + 9);
    assert!(millis(1900..2600).contains(&took), "{took:?}");
    stage.all_gone_within(Duration::ZERO);
}

#[test]
fn what_a_server_leaves_behind_ends_soon_after_it() {
    let stage = Stage::new();
    let mut child = stage.shell(&format!("{FAMILY} exit 5"));
    let (code, took) = wait(&mut child);
    assert_eq!(code, 5);
    assert!(millis(500..1300).contains(&took), "{took:?}");
    stage.all_gone_within(Duration::ZERO);
}

#[test]
fn leftovers_that_listen_are_asked_and_cost_no_grace() {
    let stage = Stage::new();
    let mut child = stage.shell(
        "(setsid sh -c 'trap \"echo asked; exit\" TERM; echo up; while :; do sleep 0.01; done' &)
         read line; exit 6",
    );
    expect_line(&mut child, "up");
    drop(child.stdin.take());
    expect_line(&mut child, "asked");
    let (code, took) = wait(&mut child);
    assert_eq!(code, 6);
    assert!(took < Duration::from_millis(400), "{took:?}");
}

#[test]
fn nobody_is_asked_twice() {
    let stage = Stage::new();
    let mut child = stage.shell(
        "trap 'exit 0' TERM
         sh -c 'trap \"echo asked; n=1\" TERM; echo up; until [ $n ]; do sleep 0.01; done
                for i in 1 2 3 4 5 6 7 8 9; do sleep 0.01; done' & wait",
    );
    expect_line(&mut child, "up");
    kill_process_group(id(&child), Signal::TERM).unwrap();
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "asked\n");
    assert_eq!(wait(&mut child).0, 0);
}

#[test]
fn orphans_are_reaped_while_the_server_lives() {
    let stage = Stage::new();
    let mut child = stage.shell(
        "i=0; while [ $i -lt 50 ]; do (sh -c 'exit 1' & setsid sh -c 'exit 2' &) ; i=$((i+1))
         done; echo up; exec cat",
    );
    expect_line(&mut child, "up");
    let keeper = id(&child).as_raw_pid();
    let start = Instant::now();
    let children = || {
        let path = format!("/proc/{keeper}/task/{keeper}/children");
        std::fs::read_to_string(path).unwrap().split_whitespace().count()
    };
    while children() > 1 {
        assert!(start.elapsed() < Duration::from_secs(2), "{} unreaped", children() - 1);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.try_wait().unwrap(), None);
    drop(child.stdin.take());
    assert_eq!(wait(&mut child).0, 0);
}

#[test]
fn a_storm_of_short_lived_processes_ends_too() {
    let stage = Stage::new();
    let mut child = stage.shell(
        "trap '' TERM
         for i in 1 2 3 4 5; do setsid sh -c 'while :; do
            for j in 1 2 3 4 5 6 7 8 9 10; do sleep 0.02 & done; sleep 0.02; done' & done
         echo up; wait",
    );
    expect_line(&mut child, "up");
    std::thread::sleep(Duration::from_millis(200));
    kill_process_group(id(&child), Signal::TERM).unwrap();
    let (code, took) = wait(&mut child);
    assert_eq!(code, 128 + 9);
    assert!(took < Duration::from_millis(3500), "{took:?}");
    stage.all_gone_within(Duration::ZERO);
}

#[test]
fn who_forks_faster_than_lists_are_read_ends_too() {
    let stage = Stage::new();
    let mut child = stage.keep(&[BINARY, "runner"]);
    expect_line(&mut child, "running");
    // Its first process has ended, so the grace for what it left behind is running.
    let (code, took) = wait(&mut child);
    assert_eq!(code, 0);
    assert!(took < Duration::from_millis(1500), "{took:?}");
    stage.all_gone_within(Duration::ZERO);
}

#[test]
fn a_killed_keeper_takes_its_server_along() {
    for options in [&[][..], &["--by-group"]] {
        let stage = Stage::new();
        let server = ["sh", "-c", "trap '' TERM; echo up; exec sleep 60"];
        let mut child = stage.keep_with(options, &server).spawn().unwrap();
        expect_line(&mut child, "up");
        kill_process(id(&child), Signal::KILL).unwrap();
        assert_eq!(wait(&mut child).0, -9);
        stage.all_gone_within(Duration::from_millis(500));
    }
}

#[test]
fn signals_other_than_terminate_and_interrupt_are_the_servers_business() {
    let stage = Stage::new();
    let mut child = stage.shell("trap 'echo hup' HUP; echo up; while :; do sleep 0.01; done");
    expect_line(&mut child, "up");
    for signal in [Signal::USR1, Signal::QUIT, Signal::ALARM, Signal::PIPE] {
        kill_process(id(&child), signal).unwrap();
    }
    kill_process_group(id(&child), Signal::HUP).unwrap();
    expect_line(&mut child, "hup");
    assert_eq!(child.try_wait().unwrap(), None);
    kill_process_group(id(&child), Signal::INT).unwrap();
    let (code, took) = wait(&mut child);
    assert_eq!((code, took < Duration::from_secs(1)), (128 + 2, true));
}

#[test]
fn a_server_without_descendants_reached_by_group_ends_after_the_grace() {
    let stage = Stage::new();
    let script = "trap '' TERM; sleep 61 & echo up; while :; do sleep 69; done";
    let mut command = stage.keep_with(&["--by-group"], &["sh", "-c", script]);
    let mut child = command.spawn().unwrap();
    expect_line(&mut child, "up");
    kill_process_group(id(&child), Signal::TERM).unwrap();
    let (code, took) = wait(&mut child);
    // Its own group's SIGKILL.
    assert_eq!(code, -9);
    assert!(millis(1900..2600).contains(&took), "{took:?}");
    stage.all_gone_within(Duration::from_millis(100));
}

/// Starts a `kern` with two servers, kills it after `delay`, and returns how long they lived on.
fn kill_kern(delay: Duration, script: &str) -> Duration {
    let stage = Stage::new();
    let mut house = stage.command(BINARY);
    house.args(["house", &delay.as_micros().to_string(), "2", "sh", "-c", script]);
    let output = house.output().unwrap();
    stage.all_gone_within(Duration::ZERO);
    let text = String::from_utf8(output.stdout).unwrap();
    let (orphans, took) = text.trim_end().split_once(' ').unwrap();
    // The keepers at most: they left nobody, dead or alive.
    assert!(orphans.parse::<u32>().unwrap() <= 2, "{text}");
    let took = Duration::from_millis(took.parse().unwrap());
    assert!(took < Duration::from_secs(2), "{took:?}");
    took
}

#[test]
fn kern_killed_at_any_moment_leaves_nobody() {
    let mut worst = Duration::ZERO;
    // A plain generator is random enough, and repeats.
    let mut state = 0x2545_f491_u32;
    for round in 0..30 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // While keepers start, while servers start, and when all is up.
        let at_most = [20_000, 150_000, 600_000][round % 3];
        let delay = Duration::from_micros(u64::from(state >> 8) % at_most);
        worst = worst.max(kill_kern(delay, &format!("{FAMILY} while :; do sleep 69; done")));
    }
    println!("worst: {worst:?}");
    // Where servers listen, nothing waits.
    let took = kill_kern(Duration::from_millis(600), "sleep 60 & setsid sleep 60 & exec cat");
    assert!(took < Duration::from_millis(900), "{took:?}");
}

#[test]
fn the_end_of_the_thread_that_started_it_ends_no_server() {
    let stage = Stage::new();
    let mut kern = stage.command(BINARY);
    let mut kern = kern.args(["parent", "2", "cat"]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    // kern, two keepers, two servers.
    assert_eq!(stage.bearers().len(), 5);
    kern.kill().unwrap();
    kern.wait().unwrap();
    stage.all_gone_within(Duration::from_secs(2));
}
