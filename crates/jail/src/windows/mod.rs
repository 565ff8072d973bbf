//! How is a server kept where there are neither process groups nor signals?
//!
//! It is started and its code is passed on; its descendants are not followed.

use std::process::Command;

use crate::error::Error;
use crate::order::Order;

pub(crate) fn keep(order: &Order) -> Result<u8, Error> {
    let status = Command::new(&order.program)
        .args(&order.args)
        .status()
        .map_err(|cause| Error::Start { program: order.program.clone(), cause })?;
    // Codes have 32 bits here, and what does not fit must not read as success.
    Ok(status.code().map_or(u8::MAX, |code| u8::try_from(code).unwrap_or(u8::MAX)))
}
