//! The SQL of a mapping, read far enough to know which table leads to which: the tables of `from`,
//! the conditions that join them, and the columns that an expression uses.

use std::{
    collections::BTreeSet,
    fmt,
    ops::{ControlFlow, Range},
};

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
    pub conditions: Vec<Condition>,
    /// Whether tables are joined by columns that are not looked up: each may be one of them.
    pub is_unclear: bool,
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

/// A condition of a join or of `where`.
#[derive(Debug)]
pub(super) struct Condition {
    pub expression: Expr,
    /// The tables of an outer join that are absent where it does not hold; `None` where it always
    /// does.
    pub holds_without: Option<BTreeSet<String>>,
}

/// A table in `from`.
#[derive(Debug)]
pub(super) struct FromTable {
    /// Whether an outer join may give a row without it.
    pub is_nullable: bool,
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
        is_unclear: false,
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
        parsed.add_condition(condition, &None);
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
        let begin = self.tables.len();
        self.add_factor(tables.relation)?;
        for Join { relation, join_operator, .. } in tables.joins {
            let middle = self.tables.len();
            self.add_factor(relation)?;
            let (constraint, nullable) = match join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::CrossJoin(constraint) => (constraint, None),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    (constraint, Some(middle..self.tables.len()))
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    (constraint, Some(begin..middle))
                }
                JoinOperator::FullOuter(constraint) => (constraint, Some(begin..self.tables.len())),
                other => return Err(format!("in a join of the kind {other:?}")),
            };
            let nullable = nullable.map(|range| {
                let tables = self.tables[range].iter_mut();
                tables
                    .map(|table| {
                        table.is_nullable = true;
                        table.alias.clone()
                    })
                    .collect()
            });
            self.add_constraint(constraint, begin..middle, &nullable)?;
        }
        Ok(())
    }

    fn add_constraint(
        &mut self,
        constraint: JoinConstraint,
        before: Range<usize>,
        nullable: &Option<BTreeSet<String>>,
    ) -> Result<(), String> {
        match constraint {
            JoinConstraint::On(condition) => {
                self.add_nested(&condition)?;
                self.add_condition(condition, nullable);
            }
            // Which of several tables on a side has the column is not looked up.
            JoinConstraint::Using(columns) => {
                let ([left], [right]) = (&self.tables[before.clone()], &self.tables[before.end..])
                else {
                    self.is_unclear = true;
                    return Ok(());
                };
                let (left, right) = (left.alias.clone(), right.alias.clone());
                for column in columns.iter().filter_map(last_ident) {
                    let of = |alias: &str| {
                        let alias = Ident::with_quote('"', alias);
                        Box::new(Expr::CompoundIdentifier(vec![alias, column.clone()]))
                    };
                    let equal = Expr::BinaryOp {
                        left: of(&left),
                        op: BinaryOperator::Eq,
                        right: of(&right),
                    };
                    self.add_condition(equal, nullable);
                }
            }
            JoinConstraint::Natural | JoinConstraint::UsingAlias(..) => self.is_unclear = true,
            JoinConstraint::None => {}
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
                self.tables.push(FromTable { is_nullable: false, table, alias, sql });
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

    fn add_condition(&mut self, condition: Expr, nullable: &Option<BTreeSet<String>>) {
        match condition {
            Expr::Nested(inner) => self.add_condition(*inner, nullable),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.add_condition(*left, nullable);
                self.add_condition(*right, nullable);
            }
            expression => {
                let holds_without = nullable.clone();
                self.conditions.push(Condition { expression, holds_without });
            }
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
#[path = "parsed_tests.rs"]
mod tests;
