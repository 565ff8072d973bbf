//! What plays `kern`, its keeper, and servers of all manners, in the tests?
//!
//! `__keep …` is the keeper as in `kern`. `parent N PROGRAM…` is a `kern` that starts N keepers
//! and sleeps; `house MICROSECONDS N PROGRAM…` starts such a `kern`, kills it after that time, and
//! is the first process to whom orphans fall. The others are servers.

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    kern_jail::keep(std::env::args_os().skip(2).collect())
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let role = args.next().expect("a role");
    if role.to_str() == Some(kern_jail::SUBCOMMAND) {
        return kern_jail::keep(args.collect());
    }
    let rest: Vec<String> = args.map(|arg| arg.into_string().expect("UTF-8")).collect();
    roles::play(role.to_str().expect("UTF-8"), &rest)
}

#[cfg(target_os = "linux")]
mod roles {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode, Stdio};
    use std::time::{Duration, Instant};

    pub(super) fn play(role: &str, rest: &[String]) -> ExitCode {
        match role {
            "parent" => parent(rest),
            "house" => house(rest),
            "state" => state(),
            "runner" => runner(),
            _ => panic!("no role {role}"),
        }
    }

    /// Starts the keepers from threads of their own, which end at once: that must end nobody.
    fn parent(rest: &[String]) -> ExitCode {
        let count: usize = rest[0].parse().expect("a count");
        let order = kern_jail::arguments(std::process::id(), &rest[1], &rest[2..]);
        let mut keepers = Vec::new();
        for _ in 0..count {
            let mut command = Command::new("/proc/self/exe");
            command.args(&order).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
            let start = std::thread::spawn(move || command.spawn().expect("starts"));
            keepers.push(start.join().expect("no panic"));
        }
        std::thread::sleep(Duration::from_secs(60));
        ExitCode::SUCCESS
    }

    /// Prints how many processes were left for the first process to reap, and after how long the
    /// last of them had ended, in milliseconds.
    fn house(rest: &[String]) -> ExitCode {
        let delay = Duration::from_micros(rest[0].parse().expect("a time"));
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("Linux");
        let mut command = Command::new("/proc/self/exe");
        #[allow(clippy::zombie_processes)] // Reaped below, with all others.
        let kern = command.arg("parent").args(&rest[1..]).spawn().expect("starts");
        std::thread::sleep(delay);
        let kern = rustix::process::Pid::from_child(&kern);
        rustix::process::kill_process(kern, rustix::process::Signal::KILL).expect("lives");
        let start = Instant::now();
        let mut orphans = -1;
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::empty()) {
            orphans += 1;
        }
        println!("{orphans} {}", start.elapsed().as_millis());
        ExitCode::SUCCESS
    }

    /// Prints what a program inherits: descriptors, dispositions, mask, name.
    fn state() -> ExitCode {
        let folder = std::fs::read_dir("/proc/self/fd").expect("/proc");
        let mut fds: Vec<u32> = folder
            .flatten()
            .filter_map(|file| file.file_name().to_str()?.parse().ok())
            .filter(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok())
            .filter(|fd| !is_own_folder(*fd))
            .collect();
        fds.sort_unstable();
        println!("fds {fds:?}");
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        for line in status.lines().filter(|line| line.starts_with("Sig")) {
            println!("{line}");
        }
        println!("name {}", std::env::args().next().expect("argv[0]"));
        ExitCode::SUCCESS
    }

    fn is_own_folder(fd: u32) -> bool {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).expect("open");
        link.ends_with("fd") && link.starts_with("/proc")
    }

    /// Forks for ever in a session of its own, each parent ending at once: no list of processes
    /// is ever true.
    fn runner() -> ExitCode {
        let _ = rustix::process::setsid();
        std::io::stdout().write_all(b"running\n").expect("stdout");
        #[allow(unsafe_code)]
        loop {
            // SAFETY: one thread; the child goes on where the parent ends.
            match unsafe { libc::fork() } {
                0 => {}
                _ => unsafe { libc::_exit(0) },
            }
        }
    }
}
