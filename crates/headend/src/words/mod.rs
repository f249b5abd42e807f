//! What people call objects ([`names`]), and COSEM values as they write ([`write`](mod@write)) and read them ([`show`]):
//! the same words on the command line, in the API and on the page.

pub mod names;
pub mod show;
pub mod write;
