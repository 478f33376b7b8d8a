//! Sessions and their evidence, over what real gateways wrote.

mod golden;
mod stores;
