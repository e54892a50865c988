//! Which clauses a query may have: everything that sqlparser reads and that would not be run is refused by name.
//!
//! Law: nothing that was written is ignored. Each piece of the syntax tree is taken apart without `..`, so that a clause which
//! a later sqlparser adds does not compile until somebody has decided about it.

use datafusion_sql::sqlparser::ast::{
    GroupByExpr, ObjectName, Query as Tree, Select, SetExpr, TableFactor, TableWithJoins,
};

use super::Query;
use crate::error::Result;
use crate::sql::diagnose::{Code, at_word};

impl Query<'_> {
    /// Refuses what `tree` has beyond SELECT .. FROM .. WHERE .. GROUP BY .. HAVING. What the planner refuses by itself, such as
    /// joins, is left to it.
    pub(super) fn admit(&self, tree: &Tree) -> Result<()> {
        let Tree {
            with,
            body,
            order_by: _,
            limit_clause: _,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = tree;
        self.absent(fetch.is_none(), "FETCH")?;
        self.absent(locks.is_empty() && for_clause.is_none(), "FOR")?;
        self.absent(settings.is_none(), "SETTINGS")?;
        self.absent(format_clause.is_none(), "FORMAT")?;
        self.absent(pipe_operators.is_empty(), "|>")?;
        for table in with.iter().flat_map(|with| &with.cte_tables) {
            self.admit(&table.query)?;
        }
        match body.as_ref() {
            SetExpr::Select(select) => self.admit_select(select),
            SetExpr::Query(query) => self.admit(query),
            // A union or a list of values: the planner's plan of it is refused.
            _ => Ok(()),
        }
    }

    fn admit_select(&self, select: &Select) -> Result<()> {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct: _,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude: _,
            into,
            from,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor: _,
        } = select;
        self.absent(optimizer_hints.is_empty(), "hints")?;
        self.absent(select_modifiers.is_none(), "SELECT modifiers")?;
        self.absent(top.is_none(), "TOP")?;
        self.absent(!projection.is_empty(), "SELECT without columns")?;
        self.absent(into.is_none(), "INTO")?;
        self.absent(lateral_views.is_empty(), "LATERAL")?;
        self.absent(prewhere.is_none(), "PREWHERE")?;
        self.absent(connect_by.is_empty(), "CONNECT")?;
        self.absent(cluster_by.is_empty(), "CLUSTER")?;
        self.absent(distribute_by.is_empty(), "DISTRIBUTE")?;
        self.absent(sort_by.is_empty(), "SORT")?;
        self.absent(named_window.is_empty(), "WINDOW name AS (..)")?;
        self.absent(qualify.is_none(), "QUALIFY")?;
        self.absent(value_table_mode.is_none(), "AS VALUE")?;
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
        self.absent(modifiers.is_empty(), "WITH ROLLUP")?;
        from.iter().try_for_each(|table| self.admit_table(table))
    }

    fn admit_table(&self, table: &TableWithJoins) -> Result<()> {
        // Joins are the planner's to refuse.
        let TableWithJoins { relation, joins: _ } = table;
        match relation {
            TableFactor::Table {
                name,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                self.absent(name.0.len() == 1, "a stream's name with a schema before it")?;
                self.admit_call(name, args.is_some())?;
                self.absent(with_hints.is_empty() && index_hints.is_empty(), "hints")?;
                self.absent(version.is_none(), "versions of a stream")?;
                self.absent(!with_ordinality, "ORDINALITY")?;
                self.absent(partitions.is_empty(), "PARTITION")?;
                self.absent(json_path.is_none(), "a path into a stream")?;
                self.absent(sample.is_none(), "a sample of a stream")
            }
            TableFactor::Derived {
                lateral,
                subquery,
                alias: _,
                sample,
            } => {
                self.absent(!lateral, "LATERAL")?;
                self.absent(sample.is_none(), "a sample of a subquery")?;
                self.admit(subquery)
            }
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                self.absent(false, "table functions")
            }
            // The planner refuses the others by name.
            _ => Ok(()),
        }
    }

    /// `FROM TUMBLE(orders, ..)` wants TABLE around it.
    fn admit_call(&self, name: &ObjectName, is_call: bool) -> Result<()> {
        let function = name.0.last().map(|part| part.to_string().to_lowercase());
        let windows = ["tumble", "hop", "cumulate", "session"];
        match function.filter(|_| is_call) {
            Some(function) if windows.contains(&function.as_str()) => Err(at_word(
                &self.tokens,
                &function,
                Code::BadWindow,
                format!("{} stands within TABLE(..)", function.to_uppercase()),
                Some(format!(
                    "write FROM TABLE({}(TABLE s, DESCRIPTOR(ts), ..)), and group by window_start, window_end",
                    function.to_uppercase()
                )),
            )),
            _ => self.absent(!is_call, "table functions"),
        }
    }

    /// Refuses a clause that is there, at its first word if that stands in the text.
    fn absent(&self, absent: bool, clause: &str) -> Result<()> {
        if absent {
            return Ok(());
        }
        let word = clause.split(' ').next().unwrap_or(clause);
        Err(self.not_available(word, clause, "leave it out"))
    }
}
