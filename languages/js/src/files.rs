//! Files as JavaScript is given them. What fails is thrown as an error whose message is the name of the error number
//! and what it means, `ENOENT: no such file or directory`: `js/fs.js` makes Node's errors of them.

use std::ffi::{CStr, CString, c_int};
use std::io::{Error, ErrorKind};
use std::time::UNIX_EPOCH;
use std::{fs, io};

use rquickjs::function::Opt;
use rquickjs::{Array, Ctx, Exception, Function, Object, Result, TypedArray, Value};

/// Of a line of `/wayfare/in`, at most: a message with every byte escaped.
const LINE_BYTES_MAX: usize = 4 << 20;

pub(crate) fn offer<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    let set = |name: &str, function: Function<'js>| native.set(name, function.with_name(name)?);
    set("open", Function::new(ctx.clone(), open)?)?;
    set(
        "close",
        Function::new(ctx.clone(), |fd: c_int| {
            // SAFETY: what is closed is not used any more by Rust: it has opened nothing that it keeps.
            unsafe { libc::close(fd) };
        })?,
    )?;
    set("read", Function::new(ctx.clone(), read)?)?;
    set("readLine", Function::new(ctx.clone(), read_line)?)?;
    set("write", Function::new(ctx.clone(), write)?)?;
    set(
        "readFile",
        Function::new(ctx.clone(), |ctx: Ctx<'js>, path: String| {
            let about = said(&ctx, fs::metadata(&path))?;
            room(&ctx, usize::try_from(about.len()).unwrap_or(usize::MAX))?;
            let content = said(&ctx, fs::read(path))?;
            TypedArray::<u8>::new(ctx, content)
        })?,
    )?;
    set("stat", Function::new(ctx.clone(), stat)?)?;
    set("readdir", Function::new(ctx.clone(), readdir)?)?;
    set(
        "mkdir",
        Function::new(ctx.clone(), |ctx: Ctx<'_>, path: String| {
            said(&ctx, fs::create_dir(path))
        })?,
    )?;
    set(
        "rmdir",
        Function::new(ctx.clone(), |ctx: Ctx<'_>, path: String| {
            said(&ctx, fs::remove_dir(path))
        })?,
    )?;
    set(
        "unlink",
        Function::new(ctx.clone(), |ctx: Ctx<'_>, path: String| {
            said(&ctx, fs::remove_file(path))
        })?,
    )?;
    set(
        "rename",
        Function::new(ctx.clone(), |ctx: Ctx<'_>, from: String, to: String| {
            said(&ctx, fs::rename(from, to))
        })?,
    )?;
    set(
        "truncate",
        Function::new(ctx.clone(), |ctx: Ctx<'_>, path: String, bytes: f64| {
            let file = said(&ctx, fs::OpenOptions::new().write(true).open(path))?;
            said(&ctx, file.set_len(bytes as u64))
        })?,
    )
}

/// An error unless there is so much memory at once: Rust's own library ends the program where it has none.
pub(crate) fn room(ctx: &Ctx<'_>, bytes: usize) -> Result<()> {
    let mut room = Vec::<u8>::new();
    match room.try_reserve_exact(bytes) {
        Ok(()) => Ok(()),
        Err(_) => Err(Exception::throw_internal(ctx, "out of memory")),
    }
}

/// The bytes of an array of JavaScript's.
pub(crate) fn bytes(ctx: &Ctx<'_>, array: &TypedArray<'_, u8>) -> Result<Vec<u8>> {
    // SAFETY: nothing else runs while they are copied.
    match unsafe { array.as_bytes() } {
        Some(bytes) => {
            room(ctx, bytes.len())?;
            Ok(bytes.to_vec())
        }
        None => Err(Exception::throw_type(ctx, "the array is detached")),
    }
}

fn said<T>(ctx: &Ctx<'_>, done: io::Result<T>) -> Result<T> {
    done.map_err(|error| {
        let number = error.raw_os_error().unwrap_or(0);
        // SAFETY: the C library's texts live for ever.
        let meaning = unsafe { CStr::from_ptr(libc::strerror(number)) }
            .to_string_lossy()
            .to_lowercase();
        Exception::throw_message(ctx, &format!("{}: {meaning}", name_of(&error)))
    })
}

fn name_of(error: &Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "ENOENT",
        Some(libc::EEXIST) => "EEXIST",
        Some(libc::ENOTDIR) => "ENOTDIR",
        Some(libc::EISDIR) => "EISDIR",
        Some(libc::ENOTEMPTY) => "ENOTEMPTY",
        // What Node's programs look for where they may not.
        Some(libc::EACCES | libc::ENOTCAPABLE) => "EACCES",
        Some(libc::EPERM) => "EPERM",
        Some(libc::EROFS) => "EROFS",
        Some(libc::EBADF) => "EBADF",
        Some(libc::EBUSY) => "EBUSY",
        Some(libc::EAGAIN) => "EAGAIN",
        Some(libc::ENOSPC) => "ENOSPC",
        Some(libc::EFBIG) => "EFBIG",
        Some(libc::EINVAL) => "EINVAL",
        Some(libc::EMFILE) => "EMFILE",
        Some(libc::ENAMETOOLONG) => "ENAMETOOLONG",
        Some(libc::ENOBUFS) => "ENOBUFS",
        Some(libc::EXDEV) => "EXDEV",
        _ if error.kind() == ErrorKind::InvalidInput => "EINVAL",
        _ => "EIO",
    }
}

/// Opens a file with Node's flags, such as `w+`.
fn open(ctx: Ctx<'_>, path: String, flags: String) -> Result<c_int> {
    let (base, is_exclusive) = match flags.replace('x', "") {
        base if base.len() < flags.len() => (base, libc::O_EXCL),
        base => (base, 0),
    };
    let mode = match base.as_str() {
        "r" => libc::O_RDONLY,
        "r+" => libc::O_RDWR,
        "w" => libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
        "w+" => libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC,
        "a" => libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND,
        "a+" => libc::O_RDWR | libc::O_CREAT | libc::O_APPEND,
        _ => {
            return Err(Exception::throw_type(
                &ctx,
                &format!("'{flags}' are no flags of a file"),
            ));
        }
    };
    let Ok(path) = CString::new(path) else {
        return said(&ctx, Err(ErrorKind::InvalidInput.into()));
    };
    // SAFETY: the path ends with a zero.
    let fd = unsafe { libc::open(path.as_ptr(), mode | is_exclusive, 0o666) };
    said(
        &ctx,
        if fd < 0 {
            Err(Error::last_os_error())
        } else {
            Ok(fd)
        },
    )
}

/// At most so many bytes, from where the file is read on, or from `position`.
fn read<'js>(ctx: Ctx<'js>, fd: c_int, count: usize, position: Opt<f64>) -> Result<TypedArray<'js, u8>> {
    let mut buffer = vec![0; count];
    let into = buffer.as_mut_ptr().cast();
    // SAFETY: as many bytes are written as the buffer has, at most.
    let got = unsafe {
        match position.0 {
            Some(position) if position >= 0.0 => libc::pread(fd, into, count, position as libc::off_t),
            _ => libc::read(fd, into, count),
        }
    };
    let got = said(&ctx, usize::try_from(got).map_err(|_| Error::last_os_error()))?;
    buffer.truncate(got);
    TypedArray::new(ctx, buffer)
}

/// The next line, without its end. A descriptor that gives no more than one line at a time.
fn read_line(ctx: Ctx<'_>, fd: c_int) -> Result<String> {
    let mut line = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    while line.last() != Some(&b'\n') {
        // SAFETY: as in `read`.
        let got = unsafe { libc::read(fd, piece.as_mut_ptr().cast(), piece.len()) };
        let got = said(&ctx, usize::try_from(got).map_err(|_| Error::last_os_error()))?;
        if got == 0 || line.len() > LINE_BYTES_MAX {
            return said(&ctx, Err(ErrorKind::UnexpectedEof.into()));
        }
        line.extend_from_slice(&piece[..got]);
    }
    line.pop();
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Writes a text or bytes, all of it.
fn write<'js>(ctx: Ctx<'js>, fd: c_int, content: Value<'js>, position: Opt<f64>) -> Result<()> {
    let content = match content.as_string() {
        Some(text) => crate::host::lossy(text)?.into_bytes(),
        None => bytes(&ctx, &TypedArray::from_value(content)?)?,
    };
    let mut at = position.0.filter(|position| *position >= 0.0);
    let mut left = content.as_slice();
    while !left.is_empty() {
        // SAFETY: as many bytes are read as are left.
        let done = unsafe {
            match at {
                Some(at) => libc::pwrite(fd, left.as_ptr().cast(), left.len(), at as libc::off_t),
                None => libc::write(fd, left.as_ptr().cast(), left.len()),
            }
        };
        let done = said(&ctx, usize::try_from(done).map_err(|_| Error::last_os_error()))?;
        left = &left[done..];
        at = at.map(|at| at + done as f64);
    }
    Ok(())
}

fn kind(kind: fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "dir",
        kind if kind.is_symlink() => "link",
        kind if kind.is_file() => "file",
        _ => "other",
    }
}

/// Kind, size, and the time of the last change in milliseconds; `null` where nothing is there.
fn stat<'js>(ctx: Ctx<'js>, path: String) -> Result<Option<Object<'js>>> {
    let about = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        about => said(&ctx, about)?,
    };
    let modified = about
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let object = Object::new(ctx)?;
    object.set("kind", kind(about.file_type()))?;
    object.set("size", about.len() as f64)?;
    object.set("mtimeMs", modified.map_or(0.0, |time| time.as_secs_f64() * 1e3))?;
    Ok(Some(object))
}

/// Names with kinds, in the order of names.
fn readdir<'js>(ctx: Ctx<'js>, path: String) -> Result<Array<'js>> {
    let mut entries = Vec::new();
    for entry in said(&ctx, fs::read_dir(path))? {
        let entry = said(&ctx, entry)?;
        let kind = kind(said(&ctx, entry.file_type())?);
        entries.push(vec![
            entry.file_name().to_string_lossy().into_owned(),
            kind.to_owned(),
        ]);
    }
    entries.sort();
    let array = Array::new(ctx)?;
    for (at, entry) in entries.into_iter().enumerate() {
        array.set(at, entry)?;
    }
    Ok(array)
}
