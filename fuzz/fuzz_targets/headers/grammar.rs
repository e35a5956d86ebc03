//! RFC 9110 and 9111 by the letter. Each function returns what a well-formed line says, and `None`
//! for any other line. No code is shared with the service, and speed does not matter.

/// A cache directive; its name in lower case, its argument without quotes.
#[derive(Debug, Clone)]
pub struct Directive {
    pub name: String,
    pub argument: Option<String>,
}

/// A content coding with its weight.
#[derive(Debug, Clone)]
pub struct Coding {
    pub name: String,
    pub thousandths: u16,
}

/// `#( token [ "=" ( token / quoted-string ) ] )`
pub fn directives(line: &[u8]) -> Option<Vec<Directive>> {
    let mut text = Text(line);
    text.list(|text| {
        let name = text.token()?.to_ascii_lowercase();
        let argument = if !text.take(b"=") {
            None
        } else if text.0.first() == Some(&b'"') {
            Some(text.quoted()?)
        } else {
            Some(text.token()?)
        };
        Some(Directive { name, argument })
    })
}

/// `"*" / #entity-tag`, each with its quotes and without `W/`.
pub fn entity_tags(line: &[u8]) -> Option<Vec<&[u8]>> {
    if line == b"*" {
        return Some(vec![line]);
    }
    let mut text = Text(line);
    text.list(|text| {
        text.take(b"W/");
        let rest = text.0.strip_prefix(b"\"")?;
        let length = rest.iter().position(|byte| *byte == b'"')?;
        let is_etagc = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        rest[..length].iter().all(is_etagc).then(|| {
            let (tag, behind) = text.0.split_at(length + 2);
            text.0 = behind;
            tag
        })
    })
}

/// `#( codings [ weight ] )`; `x-gzip` is read as `gzip`.
pub fn codings(line: &[u8]) -> Option<Vec<Coding>> {
    let mut text = Text(line);
    text.list(|text| {
        let name = text.token()?.to_ascii_lowercase();
        let before = text.0;
        text.blanks();
        let thousandths = if text.take(b";") {
            text.blanks();
            if !text.take(b"q=") && !text.take(b"Q=") {
                return None;
            }
            text.weight()?
        } else {
            text.0 = before;
            1000
        };
        Some(Coding { name: if name == "x-gzip" { "gzip".to_owned() } else { name }, thousandths })
    })
}

/// What is left of a line.
struct Text<'l>(&'l [u8]);

impl<'l> Text<'l> {
    /// Elements between commas, with blanks around them. Empty elements are skipped.
    fn list<T>(&mut self, mut element: impl FnMut(&mut Text<'l>) -> Option<T>) -> Option<Vec<T>> {
        let mut elements = Vec::new();
        loop {
            self.blanks();
            if !self.0.is_empty() && self.0[0] != b',' {
                elements.push(element(self)?);
                self.blanks();
            }
            if self.0.is_empty() {
                return Some(elements);
            }
            if !self.take(b",") {
                return None;
            }
        }
    }

    fn blanks(&mut self) {
        while let [b' ' | b'\t', behind @ ..] = self.0 {
            self.0 = behind;
        }
    }

    fn take(&mut self, wanted: &[u8]) -> bool {
        let behind = self.0.strip_prefix(wanted);
        self.0 = behind.unwrap_or(self.0);
        behind.is_some()
    }

    fn token(&mut self) -> Option<String> {
        let is_tchar =
            |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let length = self.0.iter().take_while(is_tchar).count();
        let (token, behind) = self.0.split_at(length);
        self.0 = behind;
        (length > 0).then(|| String::from_utf8_lossy(token).into_owned())
    }

    /// A `quoted-string`, as the text that it stands for. A text with escapes, or with characters
    /// beyond ASCII, is not a number.
    fn quoted(&mut self) -> Option<String> {
        let mut content = String::new();
        let mut rest = self.0.strip_prefix(b"\"")?;
        loop {
            match rest {
                [b'"', behind @ ..] => {
                    self.0 = behind;
                    return Some(content);
                }
                [b'\\', b'\t' | b' ' | 0x21..=0x7e | 0x80.., behind @ ..] => {
                    content.push('\\');
                    rest = behind;
                }
                [b'\\', ..] | [] => return None,
                [byte @ (b'\t' | b' '..=0x7e | 0x80..), behind @ ..] => {
                    content.push(char::from(*byte));
                    rest = behind;
                }
                _ => return None,
            }
        }
    }

    /// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3"0" ] )`
    fn weight(&mut self) -> Option<u16> {
        let whole = if self.take(b"1") { 1 } else { self.take(b"0").then_some(0)? };
        let mut digits = Vec::new();
        if self.take(b".") {
            while let [digit @ b'0'..=b'9', behind @ ..] = self.0 {
                digits.push(*digit - b'0');
                self.0 = behind;
            }
        }
        if digits.len() > 3 || whole == 1 && digits.iter().any(|digit| *digit > 0) {
            return None;
        }
        digits.resize(3, 0);
        Some(whole * 1000 + digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(*digit)))
    }
}
