//! `#[wayfare_guest::service]`: a trait's provider, client and schema. `wayfare_guest::services` says how they are used.
//!
//! ```text
//!   trait Calc { fn double(&mut self, number: i64) -> i64; }
//!     --> CalcProvider<T: Calc>: decodes arguments, calls T, encodes results; the schema of all
//!     --> CalcClient: encodes arguments, calls, decodes results
//! ```
//! Both know a function's arguments as one type, a struct with a field for each, so that neither can know more than the other.
#![forbid(unsafe_code)]

mod function;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, ItemTrait, LitStr, Result, TraitItem};

use function::{Function, description};

/// Makes a provider and a client of a trait: see `wayfare_guest::services`. The argument is the service's name, as in `service/NAME`.
#[proc_macro_attribute]
pub fn service(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let made = syn::parse(arguments).and_then(|name| made(&name, syn::parse(item)?));
    made.unwrap_or_else(Error::into_compile_error).into()
}

fn made(name: &LitStr, item: ItemTrait) -> Result<TokenStream> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=64).contains(&name.value().len()) || !name.value().chars().all(is_good) {
        return Err(Error::new(
            name.span(),
            "a service's name is 1 to 64 of a-z A-Z 0-9 . _ -",
        ));
    }
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "a service is one type: it has no generics",
        ));
    }
    let functions = item.items.iter().map(|one| match one {
        TraitItem::Fn(function) => Function::of(function),
        other => Err(Error::new_spanned(
            other,
            "a service has functions, and nothing else",
        )),
    });
    let functions: Vec<Function> = functions.collect::<Result<_>>()?;
    let (provider, client) = (provider(name, &item, &functions), client(name, &item, &functions));
    Ok(quote! { #item #provider #client })
}

fn provider(name: &LitStr, item: &ItemTrait, functions: &[Function]) -> TokenStream {
    let (of, visible) = (&item.ident, &item.vis);
    let own = format_ident!("{of}Provider");
    let about = format!("Provides `service/{}` by what it holds.", name.value());
    let described = description(&item.attrs);
    let schemas = functions.iter().map(Function::schema);
    let calls = functions.iter().map(|function| function.provided(of));
    let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
    let there = format!("there are {}", names.join(", "));
    quote! {
        #[doc = #about]
        #[derive(Debug, Clone, Default)]
        #visible struct #own<T>(pub T);

        impl<T: #of> ::wayfare_guest::services::Provider for #own<T> {
            const NAME: &'static str = #name;

            fn schema() -> ::std::string::String {
                let mut schema = ::wayfare_guest::services::__private::Schema::new(#described);
                #(#schemas)*
                schema.finish()
            }

            fn call(
                &mut self,
                function: &str,
                payload: &[u8],
            ) -> ::std::result::Result<::std::vec::Vec<u8>, ::wayfare_guest::calls::Failure> {
                match function {
                    #(#calls)*
                    _ => ::std::result::Result::Err(::wayfare_guest::calls::Failure::new(
                        ::wayfare_guest::calls::FailureKind::NotFound,
                        #there,
                    )),
                }
            }
        }
    }
}

fn client(name: &LitStr, item: &ItemTrait, functions: &[Function]) -> TokenStream {
    let (of, visible) = (&item.ident, &item.vis);
    let own = format_ident!("{of}Client");
    let address = format!("service/{}", name.value());
    let about = format!("Calls `{address}`, or another address that provides it.");
    let functions = functions.iter().map(|function| function.called(visible));
    quote! {
        #[doc = #about]
        #[derive(Debug, Clone)]
        #visible struct #own {
            address: ::std::string::String,
            deadline: ::std::time::Duration,
        }

        impl #own {
            /// Each call takes at most so long.
            #visible fn new(deadline: ::std::time::Duration) -> Self {
                Self::at(#address, deadline)
            }

            #visible fn at(address: &str, deadline: ::std::time::Duration) -> Self {
                Self { address: ::std::string::String::from(address), deadline }
            }

            #(#functions)*
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, item: &str) -> String {
        let name: LitStr = syn::parse_str(&format!("{name:?}")).expect("a text");
        let made = syn::parse_str(item).and_then(|item| made(&name, item));
        made.expect_err(item).to_string()
    }

    #[test]
    fn what_is_no_service_is_refused_with_the_reason() {
        for (name, item, expected) in [
            ("a b", "trait A {}", "a service's name"),
            ("", "trait A {}", "a service's name"),
            ("a", "struct A;", "expected `trait`"),
            ("a", "trait A<T> {}", "no generics"),
            ("a", "trait A { const B: u8; }", "functions, and nothing else"),
            ("a", "trait A { async fn b(&self); }", "neither async nor generic"),
            (
                "a",
                "trait A { fn b<T>(&self, c: T); }",
                "neither async nor generic",
            ),
            ("a", "trait A { fn b(); }", "begins with &mut self or &self"),
            ("a", "trait A { fn b(self); }", "begins with &mut self or &self"),
            ("a", "trait A { fn b(&self, c: &str); }", "one that is owned"),
            ("a", "trait A { fn b(&self, (c, d): (u8, u8)); }", "has a name"),
        ] {
            let refused = refused(name, item);
            assert!(refused.contains(expected), "{item}: {refused}");
        }
    }
}
