//! Hashes and HMACs for `js/crypto.js`.

use std::cell::RefCell;
use std::rc::Rc;

use digest::{DynDigest, Mac};
use hmac::Hmac;
use rquickjs::function::Opt;
use rquickjs::{Ctx, Function, Object, Result, TypedArray, Value};

/// By the names that Node knows them by.
const NAMES: [&str; 6] = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

pub(crate) fn offer<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    native.set("hashes", NAMES.to_vec())?;
    native.set("hasher", Function::new(ctx.clone(), hasher)?.with_name("hasher")?)
}

/// `update(bytes)`, `digest()` and `copy()` of a hash, or of an HMAC where a key is given. `undefined`: there is no
/// hash of that name.
fn hasher<'js>(ctx: Ctx<'js>, name: String, key: Opt<Value<'js>>) -> Result<Option<Object<'js>>> {
    let key = match key.0.filter(|key| !key.is_undefined()) {
        Some(key) => Some(crate::files::bytes(&ctx, &TypedArray::from_value(key)?)?),
        None => None,
    };
    match made(&name, key.as_deref()) {
        Some(hash) => handle(&ctx, hash).map(Some),
        None => Ok(None),
    }
}

fn made(name: &str, key: Option<&[u8]>) -> Option<Box<dyn DynDigest>> {
    Some(match name {
        "md5" => one::<md5::Md5, Hmac<md5::Md5>>(key),
        "sha1" => one::<sha1::Sha1, Hmac<sha1::Sha1>>(key),
        "sha224" => one::<sha2::Sha224, Hmac<sha2::Sha224>>(key),
        "sha256" => one::<sha2::Sha256, Hmac<sha2::Sha256>>(key),
        "sha384" => one::<sha2::Sha384, Hmac<sha2::Sha384>>(key),
        "sha512" => one::<sha2::Sha512, Hmac<sha2::Sha512>>(key),
        _ => return None,
    })
}

fn one<H, M>(key: Option<&[u8]>) -> Box<dyn DynDigest>
where
    H: DynDigest + Default + 'static,
    M: DynDigest + Mac + digest::KeyInit + 'static,
{
    match key {
        None => Box::new(H::default()),
        Some(key) => match <M as digest::KeyInit>::new_from_slice(key) {
            Ok(mac) => Box::new(mac),
            Err(_) => unreachable!("an HMAC takes keys of every length"),
        },
    }
}

fn handle<'js>(ctx: &Ctx<'js>, hash: Box<dyn DynDigest>) -> Result<Object<'js>> {
    let hash = Rc::new(RefCell::new(hash));
    let object = Object::new(ctx.clone())?;
    let updated = hash.clone();
    object.set(
        "update",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, more: TypedArray<'js, u8>| {
            updated.borrow_mut().update(&crate::files::bytes(&ctx, &more)?);
            Ok::<_, rquickjs::Error>(())
        })?,
    )?;
    let copied = hash.clone();
    object.set(
        "copy",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>| {
            handle(&ctx, copied.borrow().box_clone())
        })?,
    )?;
    object.set(
        "digest",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>| {
            TypedArray::<u8>::new(ctx, hash.borrow_mut().finalize_reset().into_vec())
        })?,
    )?;
    Ok(object)
}
