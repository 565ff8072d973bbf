//! The system calls that the standard library has not.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::process::Child;

use windows_sys::Win32::Foundation::{CloseHandle, WAIT_OBJECT_0};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation,
    SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, INFINITE, OpenProcess, PROCESS_SYNCHRONIZE, WaitForMultipleObjects,
};

/// Puts this process, and what it will start, into a job that ends with this process.
pub(super) fn enter_job() -> io::Result<()> {
    // SAFETY: no attributes and no name are allowed to be null.
    let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
    if job.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made, and nobody else has it.
    let job = unsafe { OwnedHandle::from_raw_handle(job) };
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    let size = u32::try_from(size_of_val(&limits)).expect("a small structure");
    let class = JobObjectExtendedLimitInformation;
    // SAFETY: `limits` is the structure that `class` stands for, and `size` its size.
    let set = unsafe {
        SetInformationJobObject(job.as_raw_handle(), class, (&raw const limits).cast(), size)
    };
    // SAFETY: the handle is open; that of the current process needs no closing.
    let entered = set != 0
        && unsafe { AssignProcessToJobObject(job.as_raw_handle(), GetCurrentProcess()) } != 0;
    if !entered {
        return Err(io::Error::last_os_error());
    }
    // Closing it would end this process before it has told its code: the system closes it.
    let _ = job.into_raw_handle();
    Ok(())
}

/// Closes this process's ends of what the server talks through, so that a pipe whose end the
/// server closed is seen as closed. stderr stays, for what the keeper has to say.
pub(super) fn let_go_of_stdio() {
    for handle in [io::stdin().as_raw_handle(), io::stdout().as_raw_handle()] {
        if !handle.is_null() {
            // SAFETY: nothing in this process reads stdin or writes stdout from here on.
            unsafe { CloseHandle(handle) };
        }
    }
}

/// The process that the server is kept for.
pub(super) struct Parent(OwnedHandle);

/// Who ended first.
pub(super) enum Ended {
    Parent,
    Child,
}

impl Parent {
    /// `None` where there is no such process any more.
    pub(super) fn watch(id: i32) -> Option<Self> {
        let id = u32::try_from(id).ok()?;
        // SAFETY: takes and gives only numbers.
        let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, id) };
        // SAFETY: the handle was just made, and nobody else has it.
        (!handle.is_null()).then(|| Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// Waits until one of the two has ended.
    pub(super) fn or_child(&self, child: &Child) -> io::Result<Ended> {
        let handles = [child.as_raw_handle(), self.0.as_raw_handle()];
        // SAFETY: two handles that stay open during the call.
        match unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) } {
            WAIT_OBJECT_0 => Ok(Ended::Child),
            other if other == WAIT_OBJECT_0 + 1 => Ok(Ended::Parent),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
