//! Chat hours around the present.

use chrono::{DateTime, Timelike as _};
use sigilo::{Ctx, hours};
use sigilo_wire::{
    TenantId, UserId,
    hours::{DayWindow, SetHours, Weekly},
};

use super::TestServer;

/// A window from some minutes after the present to others, in UTC.
pub fn window(server: &TestServer, from: i64, to: i64) -> DayWindow {
    let now = DateTime::from_timestamp(server.app.clock.now().seconds(), 0).unwrap();
    let minute = i64::from(now.hour() * 60 + now.minute());
    let written = |after: i64| {
        let at = (minute + after).rem_euclid(24 * 60);
        format!("{:02}:{:02}", at / 60, at % 60)
    };
    [written(from), written(to)]
}

/// These windows every day.
pub fn daily(windows: &[DayWindow]) -> Weekly {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    days.map(|day| (day.to_owned(), windows.to_vec())).into()
}

/// Opens a clinic, or has a clinician there, in these minutes from the present on, every day.
pub async fn open(server: &TestServer, clinic: TenantId, clinician: Option<UserId>, minutes: &[(i64, i64)]) {
    let windows: Vec<DayWindow> = minutes.iter().map(|(from, to)| window(server, *from, *to)).collect();
    let change = SetHours { time_zone: Some("UTC".to_owned()), weekly: Some(daily(&windows)) };
    let ctx = Ctx::operator(&server.app, clinic);
    let grant = hours::authorize_manage_hours(&server.app, &ctx).await.unwrap();
    hours::set(&server.app, &ctx, grant, clinician, &change).await.unwrap();
}
