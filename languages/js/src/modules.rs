//! Compiling of programs and their modules. What a name means and where its text is, `js/internal/modules.js` decides:
//! for ES modules QuickJS asks [`Asking`], which asks it.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Exception, Function, Module, Object, Persistent, Promise, Result, Runtime};

use crate::sources;

/// The functions of JavaScript that are asked: `resolve(base, name)`, `load(path)` and `rejected(promise, reason,
/// isHandled)`.
pub(crate) type Hooks = Rc<RefCell<Option<[Persistent<Function<'static>>; 3]>>>;

/// Makes QuickJS ask. While JavaScript runs, that can no more be done.
pub(crate) fn listen(runtime: &Runtime) -> Hooks {
    let hooks = Hooks::default();
    runtime.set_loader(Asking(hooks.clone()), Asking(hooks.clone()));
    let tracked = hooks.clone();
    runtime.set_host_promise_rejection_tracker(Some(Box::new(move |ctx, promise, reason, is_handled| {
        if let Ok(rejected) = hook(&tracked, &ctx, 2) {
            // There is nobody to tell what fails in it.
            let _: Result<()> = rejected.call((promise, reason, is_handled));
        }
    })));
    hooks
}

/// Closes the function that a module's body is.
const AFTER: &str = "\n})";

pub(crate) fn offer<'js>(ctx: &Ctx<'js>, native: &Object<'js>, hooks: Hooks) -> Result<()> {
    let set = |name: &str, function: Function<'js>| native.set(name, function.with_name(name)?);
    set(
        "hooks",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, resolve, load, rejected| {
            let save = |function: Function<'js>| Persistent::save(&ctx, function);
            *hooks.borrow_mut() = Some([save(resolve), save(load), save(rejected)]);
        })?,
    )?;
    set(
        "source",
        Function::new(ctx.clone(), |name: String| sources::find(&name))?,
    )?;
    set(
        "compile",
        Function::new(
            ctx.clone(),
            |ctx: Ctx<'js>, before: String, source: rquickjs::String<'js>, name: String| {
                // A source may be many megabytes: it is copied once, with what stands around it and the end that C wants.
                let source = crate::host::lossy(&source)?;
                crate::files::room(&ctx, before.len() + source.len() + AFTER.len() + 1)?;
                let mut whole = String::with_capacity(before.len() + source.len() + AFTER.len() + 1);
                whole.extend([before.as_str(), source.as_str(), AFTER]);
                drop(source);
                compile::<Function<'js>>(&ctx, whole, &name)
            },
        )?,
    )?;
    set(
        "import",
        Function::new(
            ctx.clone(),
            |ctx: Ctx<'js>, path: String| -> Result<Promise<'js>> { Module::import(&ctx, path) },
        )?,
    )
}

/// What a script's last expression is.
pub(crate) fn compile<'js, T: rquickjs::FromJs<'js>>(
    ctx: &Ctx<'js>,
    source: impl Into<Vec<u8>>,
    name: &str,
) -> Result<T> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(name.to_owned());
    ctx.eval_with_options(source, options)
}

fn hook<'js>(hooks: &Hooks, ctx: &Ctx<'js>, which: usize) -> Result<Function<'js>> {
    let saved = hooks.borrow().as_ref().map(|hooks| hooks[which].clone());
    match saved {
        Some(saved) => saved.restore(ctx),
        None => Err(Exception::throw_message(ctx, "no modules yet")),
    }
}

struct Asking(Hooks);

impl Resolver for Asking {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        hook(&self.0, ctx, 0)?.call((base, name))
    }
}

impl Loader for Asking {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        path: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let source: String = hook(&self.0, ctx, 1)?.call((path,))?;
        let module = Module::declare(ctx.clone(), path, source)?;
        let meta = module.meta()?;
        meta.set("url", format!("file://{path}"))?;
        meta.set("filename", path)?;
        meta.set("dirname", path.rsplit_once('/').map_or("", |(folder, _)| folder))?;
        Ok(module)
    }
}
