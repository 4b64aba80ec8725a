//! Enrolling an authenticator app while an account is activated, on a terminal or by lines of JSON.

use futures_util::future::BoxFuture;
use sigilo_client::SecondFactorSetup;
use sigilo_wire::mfa::Enrolment;

use super::{output::Output, screen::Screen};

/// Shows the app's secret, and reads its code from a line of stdin.
pub(super) struct Terminal {
    screen: Screen,
}

impl Terminal {
    pub(super) fn new(json: bool) -> Self {
        Self { screen: Screen::plain(json) }
    }
}

impl SecondFactorSetup for Terminal {
    fn code<'a>(&'a mut self, enrolment: &'a Enrolment, wrong: bool) -> BoxFuture<'a, Option<String>> {
        if wrong {
            let text =
                "that code is wrong or was used: wait for the next one, and check the clock".to_owned();
            self.screen.show(&Output::Note { text });
        } else {
            let (secret, uri) = (enrolment.secret.clone(), enrolment.uri.clone());
            self.screen.show(&Output::Enrolment { secret, uri });
        }
        Box::pin(async {
            // Stdin's own buffer: what comes after this line is for the chat.
            let read = tokio::task::spawn_blocking(|| {
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).map(|length| (length > 0).then_some(line))
            });
            let line = read.await.ok()?.ok()??;
            let line = line.trim();
            Some(line.strip_prefix("/mfa").unwrap_or(line).trim().to_owned())
        })
    }

    fn recovery_codes(&mut self, codes: Vec<String>) {
        self.screen.show(&Output::RecoveryCodes { codes });
    }
}
