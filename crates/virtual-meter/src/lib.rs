//! A virtual meter in a process of its own. The program `virtual-meter` is the image that a boot stage starts; what it needs
//! on its disk beside the flash is a [`DeviceFolder`], which its maker fills once.

#![forbid(unsafe_code)]

mod folder;

pub use folder::{DeviceFolder, RoleKeyPair};
