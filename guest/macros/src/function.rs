//! One function of a service.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::{
    Attribute, Error, Expr, FnArg, GenericArgument, Ident, Lit, Meta, Pat, PathArguments, Result, ReturnType,
    TraitItemFn, Type, Visibility, parse_quote,
};

pub(super) struct Function {
    own: Ident,
    /// As it is called.
    pub(super) name: String,
    description: String,
    docs: Vec<Attribute>,
    arguments: Vec<(Ident, Type)>,
    result: Type,
    /// It can say why it has no result.
    may_fail: bool,
}

impl Function {
    pub(super) fn of(item: &TraitItemFn) -> Result<Self> {
        let signature = &item.sig;
        if signature.asyncness.is_some() || !signature.generics.params.is_empty() {
            return Err(Error::new_spanned(
                signature,
                "a function of a service is neither async nor generic",
            ));
        }
        let mut inputs = signature.inputs.iter();
        match inputs.next() {
            Some(FnArg::Receiver(receiver)) if receiver.reference.is_some() => {}
            _ => {
                return Err(Error::new_spanned(
                    signature,
                    "a function of a service begins with &mut self or &self",
                ));
            }
        }
        let (result, may_fail) = match &signature.output {
            ReturnType::Default => (parse_quote!(()), false),
            ReturnType::Type(_, of) => match result_of(of) {
                Some(result) => (result, true),
                None => ((**of).clone(), false),
            },
        };
        let is_doc = |attribute: &&Attribute| attribute.path().is_ident("doc");
        Ok(Self {
            own: signature.ident.clone(),
            name: signature.ident.unraw().to_string(),
            description: description(&item.attrs),
            docs: item.attrs.iter().filter(is_doc).cloned().collect(),
            arguments: inputs.map(argument).collect::<Result<_>>()?,
            result,
            may_fail,
        })
    }

    /// A type with a field for each argument.
    fn arguments(&self, derived: &TokenStream) -> TokenStream {
        let fields = self.arguments.iter().map(|(name, of)| quote! { #name: #of });
        quote! {
            #derived
            struct Arguments { #(#fields),* }
        }
    }

    fn names(&self) -> impl Iterator<Item = &Ident> {
        self.arguments.iter().map(|(name, _)| name)
    }

    pub(super) fn schema(&self) -> TokenStream {
        let (name, described, result) = (&self.name, &self.description, &self.result);
        if self.arguments.is_empty() {
            return quote! { schema.add::<#result>(#name, #described); };
        }
        let arguments = self.arguments(&quote! {
            #[derive(::wayfare_guest::services::__private::schemars::JsonSchema)]
            #[schemars(crate = "::wayfare_guest::services::__private::schemars", inline)]
            #[allow(dead_code)]
        });
        quote! {{
            #arguments
            schema.add_with::<Arguments, #result>(#name, #described);
        }}
    }

    pub(super) fn provided(&self, of: &Ident) -> TokenStream {
        let (name, own, names) = (&self.name, &self.own, self.names());
        let passed = self.names();
        let decoded = match self.arguments.is_empty() {
            true => quote! {},
            false => {
                let arguments = self.arguments(&quote! {
                    #[derive(::wayfare_guest::services::__private::serde::Deserialize)]
                    #[serde(crate = "::wayfare_guest::services::__private::serde")]
                });
                quote! {
                    #arguments
                    let Arguments { #(#names),* } = ::wayfare_guest::services::__private::arguments(payload)?;
                }
            }
        };
        let called = quote! { <T as #of>::#own(&mut self.0, #(#passed),*) };
        let result = match self.may_fail {
            true => quote! { #called? },
            false => called,
        };
        quote! {
            #name => {
                #decoded
                ::wayfare_guest::services::__private::result(&#result)
            }
        }
    }

    pub(super) fn called(&self, visible: &Visibility) -> TokenStream {
        let (name, own, result, docs) = (&self.name, &self.own, &self.result, &self.docs);
        let parameters = self.arguments.iter().map(|(name, of)| quote! { #name: #of });
        let names = self.names();
        let (arguments, passed) = match self.arguments.is_empty() {
            true => (quote! {}, quote! { &() }),
            false => (
                self.arguments(&quote! {
                    #[derive(::wayfare_guest::services::__private::serde::Serialize)]
                    #[serde(crate = "::wayfare_guest::services::__private::serde")]
                }),
                quote! { &Arguments { #(#names),* } },
            ),
        };
        quote! {
            #(#docs)*
            #visible fn #own(
                &self,
                #(#parameters),*
            ) -> ::std::result::Result<#result, ::wayfare_guest::services::Error> {
                #arguments
                ::wayfare_guest::services::call(&self.address, #name, #passed, self.deadline)
            }
        }
    }
}

/// What a description says, of the comments of an item.
pub(super) fn description(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn argument(input: &FnArg) -> Result<(Ident, Type)> {
    let FnArg::Typed(typed) = input else {
        return Err(Error::new_spanned(input, "a function has one self"));
    };
    let Pat::Ident(name) = &*typed.pat else {
        return Err(Error::new_spanned(
            &typed.pat,
            "an argument of a service has a name",
        ));
    };
    if let Type::Reference(_) = &*typed.ty {
        let why = "an argument comes from elsewhere: its type is one that is owned, such as String";
        return Err(Error::new_spanned(&typed.ty, why));
    }
    Ok((name.ident.clone(), (*typed.ty).clone()))
}

/// What is inside of a `Result`.
fn result_of(of: &Type) -> Option<Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(of) => Some(of.clone()),
        _ => None,
    })
}
