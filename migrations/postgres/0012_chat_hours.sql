-- Hours of a clinician's own, which narrow the clinic's (tenants.hours). weekly: windows by day of the week as JSON,
-- NULL for whenever the clinic is open; time_zone: NULL for the clinic's.
CREATE TABLE clinician_hours (
    clinician_id UUID PRIMARY KEY REFERENCES users (user_id),
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    time_zone TEXT,
    weekly TEXT
);

-- Dates with windows of their own: of the clinic when owner_id is its id, otherwise of a clinician. day: YYYY-MM-DD.
CREATE TABLE hours_exceptions (
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    owner_id UUID NOT NULL,
    day TEXT NOT NULL,
    windows TEXT NOT NULL,
    reason TEXT,
    PRIMARY KEY (owner_id, day)
);
