//! The models as a graph, from sources to views: as text, Mermaid and DOT.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::model::{Model, ModelKind, Reference};
use crate::project::Project;

/// An edge from a relation to a model that reads it.
struct Edge {
    from: String,
    to: String,
}

fn edges(project: &Project) -> Vec<Edge> {
    let mut edges = Vec::new();
    for model in &project.models {
        for route in &model.routes {
            let from = format!("{}/{}", route.source, route.event_type.as_deref().unwrap_or("*"));
            edges.push(Edge { from, to: model.name.clone() });
        }
        for read in &model.reads {
            let (Reference::Model(from) | Reference::Other(from)) = read else { continue };
            edges.push(Edge { from: from.clone(), to: model.name.clone() });
        }
    }
    edges
}

/// One line per model: its kind and the relations that it reads.
pub fn text(project: &Project) -> String {
    let edges = edges(project);
    let mut text = String::new();
    for model in &project.models {
        let below: Vec<&str> =
            edges.iter().filter(|edge| edge.to == model.name).map(|edge| edge.from.as_str()).collect();
        let _ = writeln!(text, "{} ({}) ← {}", model.name, model.kind.name(), below.join(", "));
    }
    text
}

pub fn mermaid(project: &Project) -> String {
    let mut text = String::from("flowchart LR\n");
    let edges = edges(project);
    for name in foreign(project, &edges) {
        let _ = writeln!(text, "    {}[/\"{name}\"/]", node(name));
    }
    for Model { name, kind, .. } in &project.models {
        let (open, close) = match kind {
            ModelKind::Fact | ModelKind::Rollup => ("[(", ")]"),
            ModelKind::MaterializedView | ModelKind::View => ("([", "])"),
        };
        let _ = writeln!(text, "    {}{open}\"{name}\"{close}", node(name));
    }
    for Edge { from, to } in &edges {
        let _ = writeln!(text, "    {} --> {}", node(from), node(to));
    }
    text
}

pub fn dot(project: &Project) -> String {
    let mut text = String::from("digraph models {\n    rankdir = LR;\n");
    let edges = edges(project);
    for name in foreign(project, &edges) {
        let _ = writeln!(text, "    \"{name}\" [shape = parallelogram];");
    }
    for Model { name, kind, .. } in &project.models {
        let shape = match kind {
            ModelKind::Fact | ModelKind::Rollup => "cylinder",
            ModelKind::MaterializedView | ModelKind::View => "ellipse",
        };
        let _ = writeln!(text, "    \"{name}\" [shape = {shape}, tooltip = \"{}\"];", kind.name());
    }
    for Edge { from, to } in &edges {
        let _ = writeln!(text, "    \"{from}\" -> \"{to}\";");
    }
    text.push_str("}\n");
    text
}

/// The relations that models read and that are not models: sources and relations of users.
fn foreign<'e>(project: &Project, edges: &'e [Edge]) -> BTreeSet<&'e str> {
    edges.iter().map(|edge| edge.from.as_str()).filter(|name| project.model(name).is_none()).collect()
}

/// The id of a node in Mermaid. Special characters are escaped by their number, so that different names have different ids.
fn node(name: &str) -> String {
    let mut id = String::from("n_");
    for c in name.chars() {
        match c.is_ascii_alphanumeric() {
            true => id.push(c),
            false => {
                let _ = write!(id, "_{:x}_", c as u32);
            }
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        let fact = "-- kind = \"fact\"\n-- source = [\"shop/orders\", \"old/*\"]\nselect 1 as a from batch";
        let view = "-- kind = \"view\"\nselect * from orders, public.t";
        Project::parse(&[("orders.sql".into(), fact.into()), ("v.sql".into(), view.into())])
    }

    #[test]
    fn every_form_shows_every_arrow() {
        assert_eq!(text(&project()), "orders (fact) ← shop/orders, old/*\nv (view) ← orders, public.t\n");
        for arrow in [
            "n_shop_2f_orders --> n_orders",
            "n_old_2f__2a_ --> n_orders",
            "n_orders --> n_v",
            "n_public_2e_t --> n_v",
        ] {
            assert!(mermaid(&project()).contains(arrow), "{}", mermaid(&project()));
        }
        for arrow in ["\"shop/orders\" -> \"orders\"", "\"orders\" -> \"v\"", "\"public.t\" -> \"v\""] {
            assert!(dot(&project()).contains(arrow), "{}", dot(&project()));
        }
    }
}
