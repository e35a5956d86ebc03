//! The SQL of a mapping, read far enough to know which table leads to which: the tables of `from`,
//! the conditions that join them, and the columns that an expression uses.

use std::{collections::BTreeSet, fmt, ops::ControlFlow};

use sqlparser::{
    ast::{
        BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query,
        SelectItem, SetExpr, Statement, TableFactor, TableWithJoins, Visit, Visitor,
        visit_relations,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use super::calls;

/// A `from` with its condition and expressions.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The tables that `from` joins.
    pub tables: Vec<FromTable>,
    /// What each row that counts fulfils, as far as it was understood: conditions of joins, and of
    /// `where`.
    pub conditions: Vec<Expr>,
    /// The tables in sub-selects, as they are named there.
    pub nested: BTreeSet<TableName>,
    /// The expressions, in the order in which they were given.
    pub expressions: Vec<Expr>,
    /// Functions whose results change without a write to one of these tables: of the time, or of
    /// another schema than the server's.
    pub unseen: BTreeSet<String>,
}

/// A table with its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TableName {
    pub schema: String,
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A table in `from`.
#[derive(Debug)]
pub(super) struct FromTable {
    pub table: TableName,
    /// The alias, as the server stores it.
    pub alias: String,
    /// The table and its alias, as in the statement.
    pub sql: String,
}

/// What an expression uses.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Columns, each with the alias of its table.
    pub columns: BTreeSet<(String, String)>,
    /// Something that is not understood, or that reads more than columns.
    pub more: bool,
}

impl Uses {
    /// The only table that is used.
    pub fn only_alias(&self) -> Option<&str> {
        let mut aliases = self.columns.iter().map(|(alias, _)| alias.as_str());
        let first = aliases.next()?;
        (!self.more && aliases.all(|alias| alias == first)).then_some(first)
    }
}

/// Reads a `from` with its condition and the expressions over it.
///
/// # Errors
/// Words that end the sentence "triggers cannot notice what changes …".
pub(super) fn parse(
    from: &str,
    condition: Option<&str>,
    expressions: &[&str],
) -> Result<Parsed, String> {
    let listed: Vec<String> = expressions.iter().map(|one| format!("({one}\n)")).collect();
    let condition = condition.map(|one| format!("\nWHERE ({one}\n)")).unwrap_or_default();
    let statement = format!("SELECT {}\nFROM {from}{condition}", listed.join(", "));
    // The parser's line and column are of the statement that was put together here.
    let cannot = |why: &dyn fmt::Display| {
        let why = why.to_string();
        format!("which cannot be read: {}", why.split(" at Line:").next().unwrap_or(&why))
    };
    let mut statements =
        Parser::parse_sql(&PostgreSqlDialect {}, &statement).map_err(|error| cannot(&error))?;
    let unseen = calls::unseen(&statements);
    let select = match statements.pop() {
        Some(Statement::Query(query)) if statements.is_empty() => match *query.body {
            SetExpr::Select(select) => select,
            _ => return Err(cannot(&"it is no list of tables")),
        },
        _ => return Err(cannot(&"it is no list of tables")),
    };
    let mut parsed = Parsed {
        tables: Vec::new(),
        conditions: Vec::new(),
        nested: BTreeSet::new(),
        expressions: Vec::new(),
        unseen,
    };
    for item in select.projection {
        let SelectItem::UnnamedExpr(expression) = item else {
            return Err(cannot(&"an expression has a name"));
        };
        parsed.add_nested(&expression)?;
        parsed.expressions.push(unwrapped(expression));
    }
    if parsed.expressions.len() != expressions.len() {
        return Err(cannot(&"an expression is several"));
    }
    for tables in select.from {
        parsed.add_tables(tables)?;
    }
    if let Some(condition) = select.selection {
        parsed.add_nested(&condition)?;
        parsed.add_condition(condition);
    }
    Ok(parsed)
}

impl Parsed {
    /// The columns that an expression uses.
    pub fn uses(&self, expression: &Expr) -> Uses {
        let mut found = UsesOf { tables: &self.tables, uses: Uses::default() };
        let _ = expression.visit(&mut found);
        let mut uses = found.uses;
        let known = |alias: &String| self.tables.iter().any(|table| table.alias == *alias);
        uses.more |= !uses.columns.iter().all(|(alias, _)| known(alias));
        uses
    }

    fn add_tables(&mut self, tables: TableWithJoins) -> Result<(), String> {
        self.add_factor(tables.relation)?;
        for Join { relation, join_operator, .. } in tables.joins {
            let before: Vec<String> = self.tables.iter().map(|table| table.alias.clone()).collect();
            self.add_factor(relation)?;
            let constraint = match join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint)
                | JoinOperator::CrossJoin(constraint) => constraint,
                other => return Err(format!("in a join of the kind {other:?}")),
            };
            self.add_constraint(constraint, &before)?;
        }
        Ok(())
    }

    fn add_constraint(
        &mut self,
        constraint: JoinConstraint,
        before: &[String],
    ) -> Result<(), String> {
        match constraint {
            JoinConstraint::On(condition) => {
                self.add_nested(&condition)?;
                self.add_condition(condition);
            }
            // Which of several tables on the left has the column is not looked up.
            JoinConstraint::Using(columns) => {
                if let ([left], Some(right)) = (before, self.tables.last()) {
                    let right = right.alias.clone();
                    for column in columns.iter().filter_map(last_ident) {
                        let of = |alias: &str| {
                            let alias = Ident::with_quote('"', alias);
                            Box::new(Expr::CompoundIdentifier(vec![alias, column.clone()]))
                        };
                        self.conditions.push(Expr::BinaryOp {
                            left: of(left),
                            op: BinaryOperator::Eq,
                            right: of(&right),
                        });
                    }
                }
            }
            JoinConstraint::Natural | JoinConstraint::UsingAlias(..) | JoinConstraint::None => {}
        }
        Ok(())
    }

    fn add_factor(&mut self, factor: TableFactor) -> Result<(), String> {
        let sql = factor.to_string();
        match factor {
            TableFactor::Table { name, alias, args: None, with_ordinality: false, .. } => {
                let table = table_name(&name)?;
                if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
                    return Err(format!("in {sql}, whose columns are renamed"));
                }
                let alias = alias.map_or_else(|| table.name.clone(), |alias| stored(&alias.name));
                self.tables.push(FromTable { table, alias, sql });
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.add_tables(*table_with_joins)
            }
            derived @ TableFactor::Derived { .. } => self.add_nested(&derived),
            _ => Err(format!("in what the function {sql} returns")),
        }
    }

    /// Notes the tables in sub-selects.
    fn add_nested<V: Visit>(&mut self, of: &V) -> Result<(), String> {
        let mut wrong = Ok(());
        let _ = visit_relations(of, |name| match table_name(name) {
            Ok(name) => {
                self.nested.insert(name);
                ControlFlow::Continue(())
            }
            Err(why) => {
                wrong = Err(why);
                ControlFlow::Break(())
            }
        });
        wrong
    }

    fn add_condition(&mut self, condition: Expr) {
        match condition {
            Expr::Nested(inner) => self.add_condition(*inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.add_condition(*left);
                self.add_condition(*right);
            }
            other => self.conditions.push(other),
        }
    }
}

/// Collects what an expression uses.
struct UsesOf<'t> {
    tables: &'t [FromTable],
    uses: Uses,
}

impl Visitor for UsesOf<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.uses.more = true;
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, part: &Expr) -> ControlFlow<()> {
        let column = match part {
            Expr::Identifier(name) => match self.tables {
                [only] => Some((only.alias.clone(), stored(name))),
                _ => None,
            },
            Expr::CompoundIdentifier(names) => match names.as_slice() {
                [alias, name] => Some((stored(alias), stored(name))),
                _ => None,
            },
            Expr::CompoundFieldAccess { .. } | Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                None
            }
            _ => return ControlFlow::Continue(()),
        };
        match column {
            Some(column) => drop(self.uses.columns.insert(column)),
            None => self.uses.more = true,
        }
        ControlFlow::Continue(())
    }
}

/// The expression without its parentheses.
fn unwrapped(expression: Expr) -> Expr {
    match expression {
        Expr::Nested(inner) => unwrapped(*inner),
        other => other,
    }
}

/// The name as the server stores it.
pub(super) fn stored(name: &Ident) -> String {
    match name.quote_style {
        None => name.value.to_lowercase(),
        Some(_) => name.value.clone(),
    }
}

fn last_ident(name: &ObjectName) -> Option<&Ident> {
    name.0.last()?.as_ident()
}

fn table_name(name: &ObjectName) -> Result<TableName, String> {
    let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
    match parts.as_deref() {
        Some([schema, name]) => Ok(TableName { schema: stored(schema), name: stored(name) }),
        _ => Err(format!("in {name}: name each table with its schema")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(parsed: &Parsed, nth: usize) -> Vec<String> {
        let uses = parsed.uses(&parsed.expressions[nth]);
        uses.columns.iter().map(|(alias, column)| format!("{alias}.{column}")).collect()
    }

    #[test]
    fn tables_conditions_and_columns_are_found() {
        let parsed = parse(
            "public.\"Bag\" B JOIN public.store AS s ON (s.id = b.store_id AND s.kind = 'x') LEFT \
             JOIN other.site USING (site_id)",
            Some("b.hospital = s.hospital AND (b.state IN (SELECT id FROM public.state) OR b.x)"),
            &["s.hospital_id", "coalesce(b.\"At\", s.at)::date"],
        )
        .expect("it is plain SQL");
        let aliases: Vec<_> = parsed.tables.iter().map(|t| (&*t.table.name, &*t.alias)).collect();
        assert_eq!(aliases, [("Bag", "b"), ("store", "s"), ("site", "site")]);
        let conditions: Vec<String> = parsed.conditions.iter().map(ToString::to_string).collect();
        assert_eq!(
            conditions[..3],
            ["s.id = b.store_id", "s.kind = 'x'", "b.hospital = s.hospital"]
        );
        assert_eq!(parsed.nested.iter().map(|t| &*t.name).collect::<Vec<_>>(), ["state"]);
        assert_eq!(columns(&parsed, 0), ["s.hospital_id"]);
        assert_eq!(columns(&parsed, 1), ["b.At", "s.at"]);
        assert_eq!(parsed.uses(&parsed.expressions[0]).only_alias(), Some("s"));
        assert_eq!(parsed.uses(&parsed.expressions[1]).only_alias(), None);
    }

    #[test]
    fn what_is_no_table_is_refused_with_the_words_why() {
        for (from, why) in [
            ("public.bags_of(7) b", "the function"),
            ("bag b", "name each table with its schema"),
            ("public.bag b (x)", "renamed"),
            ("public.bag b WHERE", "cannot be read"),
        ] {
            let error = parse(from, None, &["b.id"]).expect_err(from);
            assert!(error.contains(why), "{from}: {error}");
        }
    }
}
