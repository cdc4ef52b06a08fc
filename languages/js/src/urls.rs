//! URLs and forms for `js/internal/url.js`, as the URL standard has them.

use rquickjs::{Array, Ctx, Function, Object, Result};
use url::{Url, form_urlencoded, quirks};

pub(crate) fn offer<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    let set = |name: &str, function: Function<'js>| native.set(name, function.with_name(name)?);
    set("url", Function::new(ctx.clone(), parse)?)?;
    set("urlWith", Function::new(ctx.clone(), with)?)?;
    set("urlDomain", Function::new(ctx.clone(), domain)?)?;
    set("formParse", Function::new(ctx.clone(), form_parse)?)?;
    set("formText", Function::new(ctx.clone(), form_text)?)
}

/// The parts of a URL, which may be relative to a base; `undefined` where it is none.
fn parse<'js>(ctx: Ctx<'js>, text: String, base: Option<String>) -> Result<Option<Object<'js>>> {
    let base = match base.map(|base| Url::parse(&base)) {
        None => None,
        Some(Ok(base)) => Some(base),
        Some(Err(_)) => return Ok(None),
    };
    match Url::options().base_url(base.as_ref()).parse(&text) {
        Ok(url) => parts(&ctx, &url).map(Some),
        Err(_) => Ok(None),
    }
}

/// The parts of a URL when one of them is set to a value; as they were, where it may not have that value.
fn with<'js>(ctx: Ctx<'js>, text: String, part: String, value: String) -> Result<Option<Object<'js>>> {
    let Ok(mut url) = Url::parse(&text) else {
        return Ok(None);
    };
    let to = value.as_str();
    let done = match part.as_str() {
        "protocol" => quirks::set_protocol(&mut url, to),
        "username" => quirks::set_username(&mut url, to),
        "password" => quirks::set_password(&mut url, to),
        "host" => quirks::set_host(&mut url, to),
        "hostname" => quirks::set_hostname(&mut url, to),
        "port" => quirks::set_port(&mut url, to),
        "pathname" => {
            quirks::set_pathname(&mut url, to);
            Ok(())
        }
        "search" => {
            quirks::set_search(&mut url, to);
            Ok(())
        }
        "hash" => {
            quirks::set_hash(&mut url, to);
            Ok(())
        }
        _ => Err(()),
    };
    // The standard has it that a setter says nothing of what it does not take.
    let _ = done;
    parts(&ctx, &url).map(Some)
}

fn parts<'js>(ctx: &Ctx<'js>, url: &Url) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("href", quirks::href(url))?;
    object.set("origin", quirks::origin(url))?;
    object.set("protocol", quirks::protocol(url))?;
    object.set("username", quirks::username(url))?;
    object.set("password", quirks::password(url))?;
    object.set("host", quirks::host(url))?;
    object.set("hostname", quirks::hostname(url))?;
    object.set("port", quirks::port(url))?;
    object.set("pathname", quirks::pathname(url))?;
    object.set("search", quirks::search(url))?;
    object.set("hash", quirks::hash(url))?;
    Ok(object)
}

/// A domain in ASCII or in Unicode; empty where it is none.
fn domain(name: String, is_unicode: bool) -> String {
    if is_unicode {
        quirks::domain_to_unicode(&name)
    } else {
        quirks::domain_to_ascii(&name)
    }
}

/// Names and values, one after the other.
fn form_parse<'js>(ctx: Ctx<'js>, text: String) -> Result<Array<'js>> {
    let array = Array::new(ctx)?;
    for (at, (name, value)) in form_urlencoded::parse(text.as_bytes()).enumerate() {
        array.set(at * 2, name.into_owned())?;
        array.set(at * 2 + 1, value.into_owned())?;
    }
    Ok(array)
}

fn form_text(pairs: Vec<String>) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for pair in pairs.chunks_exact(2) {
        text.append_pair(&pair[0], &pair[1]);
    }
    text.finish()
}
