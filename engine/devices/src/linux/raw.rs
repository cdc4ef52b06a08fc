//! The kernel's calls for buses and serial ports that the standard library has not: all `unsafe` of this
//! folder.
//!
//! Two ioctls for each kind of device, as `include/uapi/linux/{i2c-dev,spi/spidev}.h` and `ioctl_tty(2)` have
//! them.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// `struct i2c_msg`.
#[repr(C)]
struct I2cMessage {
    address: u16,
    flags: u16,
    length: u16,
    bytes: *mut u8,
}

/// `struct i2c_rdwr_ioctl_data`.
#[repr(C)]
struct I2cMessages {
    messages: *mut I2cMessage,
    count: u32,
}

const I2C_RDWR: libc::Ioctl = 0x0707;
const I2C_READ: u16 = 1;

/// Writes and then reads, with a repeated start between the two; whichever is empty is left out.
pub(super) fn i2c_transfer(file: &File, address: u16, write: &[u8], read: &mut [u8]) -> io::Result<()> {
    let message = |flags, length: usize, bytes| I2cMessage {
        address,
        flags,
        length: length as u16,
        bytes,
    };
    if write.len().max(read.len()) > usize::from(u16::MAX) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut messages = [
        message(0, write.len(), write.as_ptr().cast_mut()),
        message(I2C_READ, read.len(), read.as_mut_ptr()),
    ];
    let wanted = match (write.is_empty(), read.is_empty()) {
        (false, true) => &mut messages[..1],
        (true, false) => &mut messages[1..],
        _ => &mut messages[..],
    };
    let mut data = I2cMessages {
        messages: wanted.as_mut_ptr(),
        count: wanted.len() as u32,
    };
    // SAFETY: the kernel reads as many messages as there are, reads `write` and writes `read` within their
    // lengths, and keeps nothing: all of them outlive the call.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), I2C_RDWR, &raw mut data) })
}

/// `struct spi_ioc_transfer`; what is zero is as the device was set up.
#[repr(C)]
#[derive(Default)]
struct SpiTransfer {
    write: u64,
    read: u64,
    length: u32,
    speed_hz: u32,
    delay_us: u16,
    bits_per_word: u8,
    select_change: u8,
    write_bits: u8,
    read_bits: u8,
    word_delay_us: u8,
    padding: u8,
}

const SPI: u32 = b'k' as u32;
const SPI_MESSAGE_OF_ONE: libc::Ioctl = libc::_IOW::<SpiTransfer>(SPI, 0);
const SPI_SET_MODE: libc::Ioctl = libc::_IOW::<u8>(SPI, 1);
const SPI_SET_SPEED_HZ: libc::Ioctl = libc::_IOW::<u32>(SPI, 4);

pub(super) fn spi_set_up(file: &File, mode: u8, speed_hz: u32) -> io::Result<()> {
    // SAFETY: the kernel reads a byte and a word, and keeps neither.
    unsafe {
        checked(libc::ioctl(file.as_raw_fd(), SPI_SET_MODE, &raw const mode))?;
        checked(libc::ioctl(
            file.as_raw_fd(),
            SPI_SET_SPEED_HZ,
            &raw const speed_hz,
        ))
    }
}

/// Both ways at once, as far as the shorter of the two goes.
pub(super) fn spi_transfer(file: &File, write: &[u8], read: &mut [u8]) -> io::Result<()> {
    let length = write.len().min(read.len());
    let transfer = SpiTransfer {
        write: write.as_ptr() as u64,
        read: read.as_mut_ptr() as u64,
        length: u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?,
        ..SpiTransfer::default()
    };
    // SAFETY: the kernel reads and writes `length` bytes, which both have, and keeps nothing.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), SPI_MESSAGE_OF_ONE, &raw const transfer) })
}

/// Raw, eight bits, no parity, one stop bit, no flow control, for nobody else; what has come before is thrown
/// away.
pub(super) fn serial_set_up(file: &File, baud: u32) -> io::Result<()> {
    let fd = file.as_raw_fd();
    // SAFETY: all zeros are a `termios2`, which the kernel fills and reads, and does not keep.
    unsafe {
        checked(libc::ioctl(fd, libc::TIOCEXCL))?;
        let mut settings: libc::termios2 = std::mem::zeroed();
        checked(libc::ioctl(fd, libc::TCGETS2, &raw mut settings))?;
        settings.c_iflag = 0;
        settings.c_oflag = 0;
        settings.c_lflag = 0;
        // Any speed that the port can do, not only those with a name of their own.
        settings.c_cflag = libc::CS8 | libc::CREAD | libc::CLOCAL | libc::BOTHER;
        (settings.c_ispeed, settings.c_ospeed) = (baud, baud);
        checked(libc::ioctl(fd, libc::TCSETS2, &raw const settings))?;
        checked(libc::tcflush(fd, libc::TCIOFLUSH))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    ToRead,
    ToWrite,
}

/// Until it is, or has failed, or the time is over: reading or writing then says which. `None`: as long as it
/// takes.
pub(super) fn wait(file: &File, ready: Ready, limit: Option<Duration>) -> io::Result<()> {
    let mut poll = libc::pollfd {
        fd: file.as_raw_fd(),
        events: match ready {
            Ready::ToRead => libc::POLLIN,
            Ready::ToWrite => libc::POLLOUT,
        },
        revents: 0,
    };
    let limit_ms = limit.map_or(-1, |limit| i32::try_from(limit.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: one entry, which the kernel reads and writes.
    match checked(unsafe { libc::poll(&raw mut poll, 1, limit_ms) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        waited => waited,
    }
}

fn checked(result: i32) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A terminal without a wire: what is written to this end is read from the file that the path names, and the
/// other way round.
#[cfg(test)]
pub(super) fn pseudo_terminal() -> (File, std::path::PathBuf) {
    use std::os::fd::FromRawFd;
    let mut name = [0u8; 64];
    // SAFETY: the descriptor is new and nobody else's, and the name's length is given.
    let file = unsafe {
        let fd = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        checked(fd).unwrap();
        checked(libc::grantpt(fd)).unwrap();
        checked(libc::unlockpt(fd)).unwrap();
        assert_eq!(libc::ptsname_r(fd, name.as_mut_ptr().cast(), name.len()), 0);
        File::from_raw_fd(fd)
    };
    let name = std::ffi::CStr::from_bytes_until_nul(&name).unwrap();
    (file, name.to_str().unwrap().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel's headers have them on processors where `_IOW` is the usual one.
    #[test]
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64"
    ))]
    fn numbers_and_shapes_are_the_kernels() {
        assert_eq!(size_of::<SpiTransfer>(), 32);
        assert_eq!(SPI_MESSAGE_OF_ONE, 0x4020_6b00);
        assert_eq!(SPI_SET_MODE, 0x4001_6b01);
        assert_eq!(SPI_SET_SPEED_HZ, 0x4004_6b04);
        let pointer = size_of::<usize>();
        assert_eq!(size_of::<I2cMessage>(), 8 + pointer);
        assert_eq!(size_of::<I2cMessages>(), 2 * pointer);
    }

    #[test]
    fn what_is_no_bus_says_so() {
        let file = tempfile::tempfile().unwrap();
        assert!(i2c_transfer(&file, 0x48, b"a", &mut [0]).is_err());
        assert!(spi_set_up(&file, 0, 1).is_err());
        assert!(spi_transfer(&file, b"a", &mut [0]).is_err());
        assert!(serial_set_up(&file, 9600).is_err());
    }
}
