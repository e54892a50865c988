//! The SQL text as tokens that know their place.
//!
//! Law: whatever is cut out of a token stream, the tokens that remain keep the place they had in the text, so every later
//! error can be shown under the right words.

use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::diagnose::{Code, Place};
use crate::error::{Error, Result, Span};

/// The dialect that sqlparser reads: the widest it has.
pub(super) static DIALECT: GenericDialect = GenericDialect {};

/// A run of tokens without white space and comments, with a cursor.
#[derive(Clone)]
pub(super) struct Tokens<'t> {
    place: &'t Place,
    tokens: Vec<TokenWithSpan>,
    next: usize,
}

impl<'t> Tokens<'t> {
    /// Splits the whole text into statements at the semicolons; empty statements are left out.
    pub fn statements(place: &'t Place) -> Result<Vec<Tokens<'t>>> {
        let all = Tokenizer::new(&DIALECT, place.text())
            .tokenize_with_location()
            .map_err(|error| {
                let start = place.offset(error.location);
                let hint = "close it where it ends".to_owned();
                place.error(
                    Code::Syntax,
                    sentence(&error.message),
                    Some(Span {
                        start,
                        end: start + 1,
                    }),
                    Some(hint),
                )
            })?;
        let mut statements = Vec::new();
        let mut current = Vec::new();
        for token in all {
            match token.token {
                Token::Whitespace(_) | Token::EOF => {}
                Token::SemiColon => statements.push(std::mem::take(&mut current)),
                _ => current.push(token),
            }
        }
        statements.push(current);
        Ok(statements
            .into_iter()
            .filter(|tokens| !tokens.is_empty())
            .map(|tokens| Tokens {
                place,
                tokens,
                next: 0,
            })
            .collect())
    }

    /// The text these tokens stand in.
    pub fn place(&self) -> &'t Place {
        self.place
    }

    /// The next token, if there is one.
    pub fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|token| &token.token)
    }

    /// The token `ahead` places behind the next one.
    pub fn peek_at(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.next + ahead).map(|token| &token.token)
    }

    /// Whether all tokens have been taken.
    pub fn is_at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    /// Where the next token stands; behind the last one at the end.
    pub fn span(&self) -> Span {
        match self.tokens.get(self.next) {
            Some(token) => self.place.span(token.span.start, token.span.end),
            None => {
                let end = self.tokens.last().map_or(0, |last| {
                    self.place.span(last.span.start, last.span.end).end
                });
                Span { start: end, end }
            }
        }
    }

    /// Where all these tokens stand, from the first to the last.
    pub fn whole_span(&self) -> Span {
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => self.place.span(first.span.start, last.span.end),
            _ => Span { start: 0, end: 0 },
        }
    }

    /// Takes the next token.
    pub fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next)?.token.clone();
        self.next += 1;
        Some(token)
    }

    /// Takes what remains.
    pub fn take_rest(&mut self) -> Tokens<'t> {
        let tokens = self.tokens.split_off(self.next);
        Tokens {
            place: self.place,
            tokens,
            next: 0,
        }
    }

    /// Whether the next token is the keyword `word` (unquoted, in any case).
    pub fn at_word(&self, word: &str) -> bool {
        is_word(self.peek(), word)
    }

    /// Whether the next tokens are these keywords.
    pub fn at_words(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(ahead, word)| is_word(self.peek_at(ahead), word))
    }

    /// Takes the keyword `word` if it comes next.
    pub fn take_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        self.next += usize::from(found);
        found
    }

    /// Takes these keywords if they all come next.
    pub fn take_words(&mut self, words: &[&str]) -> bool {
        let found = self.at_words(words);
        if found {
            self.next += words.len();
        }
        found
    }

    /// Takes `token` if it comes next.
    pub fn take_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    /// Takes `token` or fails, saying what was expected.
    pub fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) {
            return Ok(());
        }
        Err(self.expected(&format!("'{token}'")))
    }

    /// Takes the keyword `word` or fails.
    pub fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.take_word(word) {
            return Ok(());
        }
        Err(self.expected(word))
    }

    /// Fails unless all tokens have been taken.
    pub fn expect_end(&self) -> Result<()> {
        if self.is_at_end() {
            return Ok(());
        }
        Err(self.expected("the end of the statement"))
    }

    /// Takes an identifier, folded to lower case unless quoted.
    pub fn expect_identifier(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let name = match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_lowercase(),
                };
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// "Expected this, found that", at the next token.
    pub fn expected(&self, what: &str) -> Error {
        self.error(Code::Syntax, format!("expected {what}, {}", self.found()))
    }

    /// "Found that", of the next token.
    pub fn found(&self) -> String {
        let span = self.span();
        let (text, shown) = (self.place.text(), self.place.shown());
        let is_secret = text[span.start..span.end] != shown[span.start..span.end];
        match self.peek() {
            Some(_) if is_secret => "found what is a secret".to_owned(),
            Some(token) => format!("found '{token}'"),
            None => "the statement ends here".to_owned(),
        }
    }

    /// An error at the next token.
    pub fn error(&self, code: Code, message: String) -> Error {
        self.place.error(code, message, Some(self.span()), None)
    }

    /// Takes everything up to the parenthesis that closes the one just taken, and that parenthesis.
    pub fn take_to_closing(&mut self) -> Result<Tokens<'t>> {
        let mut depth = 1usize;
        let start = self.next;
        while let Some(token) = self.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inner = self.tokens[start..self.next].to_vec();
                self.next += 1;
                return Ok(Tokens {
                    place: self.place,
                    tokens: inner,
                    next: 0,
                });
            }
            self.next += 1;
        }
        Err(self.expected("')'"))
    }

    /// Splits what remains at the commas that stand outside parentheses.
    pub fn split_commas(mut self) -> Vec<Tokens<'t>> {
        let place = self.place;
        let mut parts = vec![Vec::new()];
        let mut depth = 0i32;
        for token in self.tokens.split_off(self.next) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::Comma if depth == 0 => {
                    parts.push(Vec::new());
                    continue;
                }
                _ => {}
            }
            parts
                .last_mut()
                .expect("there is always a current part")
                .push(token);
        }
        parts
            .into_iter()
            .map(|tokens| Tokens {
                place,
                tokens,
                next: 0,
            })
            .collect()
    }

    /// The index of the next token outside parentheses for which `wanted` holds.
    pub fn find(&self, wanted: impl Fn(&Tokens<'t>) -> bool) -> Option<usize> {
        let mut cursor = self.clone();
        let mut depth = 0i32;
        while let Some(token) = cursor.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ if depth == 0 && wanted(&cursor) => return Some(cursor.next),
                _ => {}
            }
            cursor.next += 1;
        }
        None
    }

    /// A cursor at the next token within parentheses for which `wanted` holds.
    pub fn find_inside(&self, wanted: impl Fn(&Tokens<'t>) -> bool) -> Option<Tokens<'t>> {
        let mut cursor = self.clone();
        let mut depth = 0i32;
        while let Some(token) = cursor.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ if depth > 0 && wanted(&cursor) => return Some(cursor),
                _ => {}
            }
            cursor.next += 1;
        }
        None
    }

    /// The tokens that stand before `span` in the text.
    pub fn before(&self, span: Span) -> Tokens<'t> {
        let stands_before = |token: &&TokenWithSpan| {
            self.place.span(token.span.start, token.span.end).start < span.start
        };
        Tokens {
            place: self.place,
            tokens: self
                .tokens
                .iter()
                .take_while(stands_before)
                .cloned()
                .collect(),
            next: 0,
        }
    }

    /// A cursor that stands at token `index`.
    pub fn at(&self, index: usize) -> Tokens<'t> {
        let mut cursor = self.clone();
        cursor.next = index;
        cursor
    }

    /// Number of operators, words such as AND among them.
    pub fn operators(&self) -> usize {
        let words = ["and", "or", "not", "like", "between", "is", "case", "in"];
        let is_operator = |token: &Token| match token {
            Token::Word(_) => words.iter().any(|word| is_word(Some(token), word)),
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Comma
            | Token::Period
            | Token::LParen
            | Token::RParen => false,
            _ => true,
        };
        self.tokens
            .iter()
            .filter(|token| is_operator(&token.token))
            .count()
    }

    /// The index of the next token.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Cuts the tokens from `start` to `end` (exclusive) out.
    pub fn cut(&mut self, start: usize, end: usize) {
        assert!(
            start <= end && end <= self.tokens.len(),
            "a cut inside the tokens"
        );
        self.tokens.drain(start..end);
        self.next = self.next.min(start);
    }

    /// Lets sqlparser read what remains with `parse`, which may leave tokens; they come next.
    pub fn parse<T>(
        &mut self,
        parse: impl FnOnce(
            &mut Parser<'_>,
        )
            -> std::result::Result<T, datafusion_sql::sqlparser::parser::ParserError>,
    ) -> Result<T> {
        let rest: Vec<TokenWithSpan> = self.tokens[self.next..].to_vec();
        let count = rest.len();
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(rest);
        let parsed = parse(&mut parser);
        let taken = parser.index().min(count);
        match parsed {
            Ok(value) => {
                self.next += taken;
                Ok(value)
            }
            Err(error) => Err(self.at(self.next + taken).parser_error(error)),
        }
    }

    /// Whether sqlparser reads these tokens as a query; `false` if they end before it is complete.
    pub fn is_whole_query(&self) -> Result<bool> {
        use datafusion_sql::sqlparser::parser::ParserError;
        let tokens: Vec<TokenWithSpan> = self.tokens[self.next..].to_vec();
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
        let parsed = parser.parse_query();
        let behind = self.at((self.next + parser.index()).min(self.tokens.len()));
        match parsed {
            Ok(_) => behind.expect_end().map(|()| true),
            Err(ParserError::ParserError(message)) if message.contains("found: EOF") => Ok(false),
            Err(error) => Err(behind.parser_error(error)),
        }
    }

    fn parser_error(&self, error: datafusion_sql::sqlparser::parser::ParserError) -> Error {
        use datafusion_sql::sqlparser::parser::ParserError;
        let message = match error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
            ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
        };
        // sqlparser appends " at Line: 3, Column: 17"; that place is better than ours, and the words are not for people.
        match message.rsplit_once(" at Line: ") {
            Some((message, place)) => {
                let mut numbers = place.split(", Column: ").map(str::parse::<u64>);
                let span = match (numbers.next(), numbers.next()) {
                    (Some(Ok(line)), Some(Ok(column))) => {
                        let start = self.place.offset(Location { line, column });
                        self.token_span_at(start)
                    }
                    _ => self.span(),
                };
                self.place
                    .error(Code::Syntax, sentence(message), Some(span), None)
            }
            None => self.error(Code::Syntax, sentence(&message)),
        }
    }

    fn token_span_at(&self, start: usize) -> Span {
        self.tokens
            .iter()
            .map(|token| self.place.span(token.span.start, token.span.end))
            .find(|span| span.start == start)
            .unwrap_or_else(|| self.span())
    }

    /// Where the function `name` is called, or the word `name` stands.
    pub fn find_word(&self, name: &str) -> Option<Span> {
        self.tokens
            .iter()
            .find(|token| is_word(Some(&token.token), name))
            .map(|token| self.place.span(token.span.start, token.span.end))
    }

    /// Where the word `name` stands first behind the keyword `keyword`.
    pub fn find_word_after(&self, keyword: &str, name: &str) -> Option<Span> {
        let start = self.find(|tokens| tokens.at_word(keyword))?;
        let behind = Tokens {
            place: self.place,
            tokens: self.tokens[start..].to_vec(),
            next: 0,
        };
        behind.find_word(name)
    }

    /// Where the word `name` stands last.
    pub fn find_last_word(&self, name: &str) -> Option<Span> {
        self.tokens
            .iter()
            .rfind(|token| matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(name)))
            .map(|token| self.place.span(token.span.start, token.span.end))
    }

    /// Where the first function behind the keyword `word` is called: its name.
    pub fn find_call_after(&self, word: &str) -> Option<Span> {
        let from = self
            .tokens
            .iter()
            .position(|token| is_word(Some(&token.token), word))?;
        let call = self.tokens[from..].windows(2).find(|pair| {
            matches!(pair[0].token, Token::Word(_)) && pair[1].token == Token::LParen
        })?;
        Some(self.place.span(call[0].span.start, call[0].span.end))
    }

    /// Where the item at `place` of the SELECT list stands, if the list has `count` items.
    pub fn select_item(&self, place: usize, count: usize) -> Option<Span> {
        let mut list = self.at(0);
        let start = list.find(|tokens| tokens.at_word("select"))?;
        list = self.at(start + 1);
        list.take_word("distinct");
        let end = list
            .find(|tokens| tokens.at_word("from"))
            .unwrap_or(self.tokens.len());
        let from = list.position();
        list.tokens.truncate(end);
        list.next = from;
        let items = list.split_commas();
        (items.len() == count).then(|| items[place].whole_span())
    }

    /// Where the string `text` stands.
    pub fn find_string(&self, text: &str) -> Option<Span> {
        self.tokens
            .iter()
            .find(|token| matches!(&token.token, Token::SingleQuotedString(found) if found == text))
            .map(|token| self.place.span(token.span.start, token.span.end))
    }

    /// Where the expression `text` stands first, however it is spaced.
    pub fn find_expression(&self, text: &str) -> Option<Span> {
        self.expressions(text)?.next()
    }

    /// Where the expression `text` stands last.
    pub fn find_last_expression(&self, text: &str) -> Option<Span> {
        self.expressions(text)?.last()
    }

    /// Where the expression `text` stands; `None` if it is none.
    fn expressions(&self, text: &str) -> Option<impl Iterator<Item = Span>> {
        let wanted: Vec<String> = Tokenizer::new(&DIALECT, text)
            .tokenize()
            .ok()?
            .into_iter()
            .filter(|token| !matches!(token, Token::Whitespace(_)))
            .map(|token| token.to_string())
            .collect();
        let count = wanted.len().max(1);
        let is_it = move |run: &&[TokenWithSpan]| {
            run.iter()
                .zip(&wanted)
                .all(|(token, wanted)| token.token.to_string().eq_ignore_ascii_case(wanted))
        };
        let runs = self.tokens.windows(count).filter(is_it);
        Some(runs.map(move |run| {
            let last = run.len() - 1;
            self.place.span(run[0].span.start, run[last].span.end)
        }))
    }
}

/// Whether `token` is the unquoted word `word`, in any case.
fn is_word(token: Option<&Token>, word: &str) -> bool {
    matches!(token, Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// sqlparser's "Expected: x, found: y" as the rest of our messages read.
fn sentence(message: &str) -> String {
    let message = message
        .replace("Expected: ", "expected ")
        .replace("found: EOF", "the statement ends here")
        .replace("found: ", "found ");
    let mut letters = message.trim().chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}
