//! A module for TypeScript, which our runtime takes for JavaScript as well.

use std::fmt::Write as _;

use super::names::{Names, camel, is_identifier, lines, text};
use super::schema::{Field, Function, Named, Service, Shape, Type};
use super::{Language, made_by};

const END: &str = r#"
type Options<Progress = unknown> = Omit<CallOptions, "onProgress"> & { onProgress?: (progress: Progress) => void };

async function called(address: string, name: string, payload: unknown, { onProgress, ...options }: Options<any>): Promise<any> {
  const progressed = onProgress && ((progress: Buffer) => onProgress(JSON.parse(progress.toString())));
  const result = await call(address, name, JSON.stringify(payload), { ...options, onProgress: progressed });
  return result.length === 0 ? null : JSON.parse(result.toString());
}
"#;

pub(super) fn client(service: &Service) -> String {
    let mut out = format!(
        "// {}\nimport {{ call, type CallOptions }} from \"wayfare\";\n",
        made_by(service, Language::Ts)
    );
    for named in &service.types {
        out.push('\n');
        out.push_str(&definition(service, named));
    }
    out.push('\n');
    comment(&mut out, "", &service.description);
    let _ = write!(
        out,
        "export class {} {{\n  #address: string;\n  #options: Options<any>;\n\n  constructor(address: string = {}, options: Omit<CallOptions, \"onProgress\"> = {{}}) {{\n    this.#address = address;\n    this.#options = options;\n  }}\n",
        service.class,
        text(&format!("service/{}", service.name)),
    );
    let mut names = Names::taken(&["constructor"]);
    for function in &service.functions {
        out.push('\n');
        out.push_str(&method(service, function, names.unique(camel(&function.name))));
    }
    out.push_str("}\n");
    out.push_str(END);
    out
}

fn method(service: &Service, function: &Function, name: String) -> String {
    let mut out = String::new();
    comment(&mut out, "  ", &function.description);
    let (parameter, payload) = match &function.arguments {
        Some(of) => (format!("payload: {}, ", typed(service, of)), "payload"),
        None => (String::new(), "null"),
    };
    let options = match &function.progress {
        Some(of) => format!("Options<{}>", typed(service, of)),
        None => "Options".to_owned(),
    };
    let _ = write!(
        out,
        "  {name}({parameter}options: {options} = {{}}): Promise<{}> {{\n    return called(this.#address, {}, {payload}, {{ ...this.#options, ...options }});\n  }}\n",
        typed(service, &function.result),
        text(&function.name),
    );
    out
}

fn definition(service: &Service, named: &Named) -> String {
    let mut out = String::new();
    comment(&mut out, "", &named.description);
    let name = &named.name;
    let _ = match &named.shape {
        Shape::Record(fields) => {
            let _ = writeln!(out, "export interface {name} {{");
            for field in fields {
                out.push_str(&property(service, field));
            }
            writeln!(out, "}}")
        }
        Shape::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| text(word)).collect();
            writeln!(out, "export type {name} = {};", words.join(" | "))
        }
        Shape::Union(variants) => {
            let variants: Vec<String> = variants.iter().map(|of| typed(service, of)).collect();
            writeln!(out, "export type {name} = {};", variants.join(" | "))
        }
        Shape::Alias(of) => writeln!(out, "export type {name} = {};", typed(service, of)),
    };
    out
}

fn property(service: &Service, field: &Field) -> String {
    let mut out = String::new();
    comment(&mut out, "  ", &field.description);
    let name = match is_identifier(&field.name) {
        true => field.name.clone(),
        false => text(&field.name),
    };
    let mark = if field.is_required { "" } else { "?" };
    let _ = writeln!(out, "  {name}{mark}: {};", typed(service, &field.of));
    out
}

fn typed(service: &Service, of: &Type) -> String {
    let typed = |of: &Type| typed(service, of);
    match of {
        Type::Any => "unknown".into(),
        Type::Null => "null".into(),
        Type::Boolean => "boolean".into(),
        Type::Integer { .. } | Type::Number => "number".into(),
        Type::Text => "string".into(),
        Type::List(of) => format!("Array<{}>", typed(of)),
        Type::Tuple(all) => format!("[{}]", all.iter().map(typed).collect::<Vec<_>>().join(", ")),
        Type::Map(of) => format!("Record<string, {}>", typed(of)),
        Type::Maybe(of) => format!("{} | null", typed(of)),
        Type::Named(at) => service.types[*at].name.clone(),
    }
}

fn comment(out: &mut String, indent: &str, description: &str) {
    if description.trim().is_empty() {
        return;
    }
    let _ = writeln!(out, "{indent}/**");
    for line in lines(description) {
        let line = format!("{indent} * {}", line.replace("*/", "* /"));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let _ = writeln!(out, "{indent} */");
}
