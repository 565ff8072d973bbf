//! How is a server kept where there are neither process groups nor signals?
//!
//! In a job: a set of processes to which all belong that they start, and which the system ends
//! when the last handle to it is closed. Invariant: the keeper is in the job and has the only
//! handle, so whatever ends the keeper ends the server and its descendants.

mod system;

use std::process::Command;

use crate::error::Error;
use crate::order::Order;
use system::{Ended, Parent};

pub(crate) fn keep(order: &Order) -> Result<u8, Error> {
    let parent = Parent::watch(order.parent).ok_or(Error::ParentGone(order.parent))?;
    system::enter_job().map_err(|cause| Error::System { what: "make a job", cause })?;
    let mut child = Command::new(&order.program)
        .args(&order.args)
        .spawn()
        .map_err(|cause| Error::Start { program: order.program.clone(), cause })?;
    system::let_go_of_stdio();
    let system = |cause| Error::System { what: "wait for the server", cause };
    match parent.or_child(&child).map_err(system)? {
        // The system ends the rest.
        Ended::Parent => Err(Error::ParentGone(order.parent)),
        Ended::Child => {
            let status = child.wait().map_err(system)?;
            // Codes have 32 bits here, and what does not fit must not read as success.
            Ok(status.code().map_or(u8::MAX, |code| u8::try_from(code).unwrap_or(u8::MAX)))
        }
    }
}
