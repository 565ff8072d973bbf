//! Can this process use io_uring, and if not, why exactly?

use std::io;
use std::path::Path;

use io_uring::{Probe, opcode};

use super::limits::Settings;
use super::ring::Ring;

/// What every kernel of 6.1 or later offers, unless somebody restricted it.
const NEEDED: [(u8, &str); 13] = [
    (opcode::AcceptMulti::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::FilesUpdate::CODE, "FILES_UPDATE"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::Read::CODE, "READ"),
    (opcode::RecvMulti::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Writev::CODE, "WRITEV"),
    (opcode::Nop::CODE, "NOP"),
];

/// What the kernel has beyond what is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extras {
    /// `READ_MULTISHOT`, since 6.7.
    pub(super) reads_many: bool,
}

/// Checks a ring that could be made.
pub(super) fn inspect(ring: &Ring) -> io::Result<Extras> {
    let params = ring.params();
    let features = [
        (params.is_feature_nodrop(), "NODROP"),
        (params.is_feature_submit_stable(), "SUBMIT_STABLE"),
        (params.is_feature_rw_cur_pos(), "RW_CUR_POS"),
        (params.is_feature_fast_poll(), "FAST_POLL"),
        (params.is_feature_ext_arg(), "EXT_ARG"),
        (params.is_feature_skip_cqe_on_success(), "CQE_SKIP"),
    ];
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| explain("probe", &error))?;
    let operations = NEEDED.map(|(code, name)| (probe.is_supported(code), name));
    let missing: Vec<&str> = features
        .into_iter()
        .chain(operations)
        .filter_map(|(there, name)| (!there).then_some(name))
        .collect();
    if !missing.is_empty() {
        let text = format!("io_uring: {} lacks {}", kernel(), missing.join(", "));
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(Extras { reads_many: probe.is_supported(opcode::ReadMulti::CODE) })
}

/// Tells whether [`Uring`](super::Uring) would work here: makes one and drops it.
///
/// # Errors
/// The cause, in words for an operator.
pub fn probe() -> Result<(), String> {
    let least =
        Settings { submissions: 8, completions: 16, buffers: 8, files: 8, ..Settings::default() };
    super::Uring::with(least).map(drop).map_err(|error| error.to_string())
}

/// The error of a step, with its likely cause.
pub(super) fn explain(step: &str, error: &io::Error) -> io::Error {
    let disabled = std::fs::read_to_string(Path::new("/proc/sys/kernel/io_uring_disabled"));
    let text = cause(step, error, disabled.ok().as_deref().map(str::trim), &kernel());
    io::Error::new(error.kind(), text)
}

fn cause(step: &str, error: &io::Error, disabled: Option<&str>, kernel: &str) -> String {
    let why = match (error.raw_os_error(), disabled) {
        (Some(libc::ENOSYS), _) => {
            format!("{kernel} has no io_uring, or a seccomp filter hides it")
        }
        (Some(libc::EPERM), Some("2")) => {
            "switched off for everybody (sysctl kernel.io_uring_disabled = 2)".to_owned()
        }
        (Some(libc::EPERM), Some("1")) => "switched off for processes without CAP_SYS_ADMIN \
             outside kernel.io_uring_group (sysctl kernel.io_uring_disabled = 1)"
            .to_owned(),
        (Some(libc::EPERM | libc::EACCES), _) => {
            "forbidden, most likely by the container's seccomp filter or a security module"
                .to_owned()
        }
        (Some(libc::EINVAL), _) => {
            format!("{kernel} is too old: 6.1 or later is needed (DEFER_TASKRUN)")
        }
        (Some(libc::ENOMEM), _) => {
            "not enough memory, or RLIMIT_MEMLOCK or the memory cgroup is too small".to_owned()
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => "no descriptor left".to_owned(),
        _ => error.to_string(),
    };
    format!("io_uring, {step}: {why}")
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_learns_which_switch_is_off() {
        for (errno, disabled, expected) in [
            (libc::ENOSYS, None, "Linux 5.4 has no io_uring"),
            (libc::EPERM, Some("2"), "kernel.io_uring_disabled = 2"),
            (libc::EPERM, Some("1"), "kernel.io_uring_disabled = 1"),
            (libc::EPERM, Some("0"), "seccomp"),
            (libc::EPERM, None, "seccomp"),
            (libc::EINVAL, Some("0"), "Linux 5.4 is too old"),
            (libc::ENOMEM, Some("0"), "RLIMIT_MEMLOCK"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            let text = cause("set-up", &error, disabled, "Linux 5.4");
            assert!(text.contains(expected), "{text}");
        }
    }
}
