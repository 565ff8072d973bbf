//! What must change in an error that crosses the eras?
//!
//! | from | to | method | code | becomes |
//! |---|---|---|---|---|
//! | legacy | modern | any | -32002 | -32602: the old word for a missing resource, which modern peers must not send |
//! | legacy | modern | any | -32042 | -32603: the detour over a URL has no error in the modern era |
//! | modern | legacy | `resources/read` | -32602 | -32002: the word a legacy client knows for a missing resource |
//! | modern | legacy | any | -32020, -32021, -32022 | -32603: what went wrong between us and the server, which the client cannot mend |
//!
//! `message` and `data` pass. Source: 2026-07-28 basic/index "Error Codes", server/resources "Error
//! Handling".

use kern_terms::Era;

use crate::envelope::Envelope;
use crate::errors::{
    HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, MISSING_CLIENT_CAPABILITY, RESOURCE_NOT_FOUND,
    UNSUPPORTED_PROTOCOL_VERSION, URL_ELICITATION_REQUIRED,
};
use crate::method::Method;
use crate::rewrite::Splice;

/// The code a peer of era `to` must read for `code`, answered to `method` by a peer of the other era.
pub const fn translate_code(to: Era, method: Method, code: i64) -> i64 {
    match (to, code) {
        (Era::Modern, RESOURCE_NOT_FOUND) => INVALID_PARAMS,
        (Era::Modern, URL_ELICITATION_REQUIRED) => INTERNAL_ERROR,
        (Era::Legacy, INVALID_PARAMS) if matches!(method, Method::ResourcesRead) => {
            RESOURCE_NOT_FOUND
        }
        (
            Era::Legacy,
            HEADER_MISMATCH | MISSING_CLIENT_CAPABILITY | UNSUPPORTED_PROTOCOL_VERSION,
        ) => INTERNAL_ERROR,
        _ => code,
    }
}

/// Edits the code of an error response for a peer of era `to`; answers whether it changed.
pub fn translate(splice: &mut Splice<'_>, envelope: &Envelope, to: Era, method: Method) -> bool {
    let (Some(code), Some(span)) = (envelope.error_code, envelope.error_code_span) else {
        return false;
    };
    let translated = translate_code(to, method, code);
    if translated == code {
        return false;
    }
    splice.replace(span, translated.to_string().into_bytes());
    true
}
