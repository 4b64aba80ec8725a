-- Care teams: clinicians, and the patients assigned to them, each for a period. Every pair of the two has a row in
-- relationships while both are there. Whoever is taken out is deleted here: the relationship and the audit log remember.
CREATE TABLE care_teams (
    care_team_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    name_enc BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX care_teams_by_tenant ON care_teams (tenant_id, care_team_id);

-- side: clinician or patient.
CREATE TABLE care_team_members (
    care_team_id UUID NOT NULL REFERENCES care_teams (care_team_id),
    side TEXT NOT NULL,
    user_id UUID NOT NULL REFERENCES users (user_id),
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    PRIMARY KEY (care_team_id, side, user_id)
);
CREATE INDEX care_team_members_by_user ON care_team_members (user_id);

-- source: appointment, care_team, grant or break_glass. starts_at: null counts from the first moment on.
-- reason, text_enc and granted_by are those of a grant. revocation may also be care_team.
ALTER TABLE relationships ADD COLUMN starts_at BIGINT;
ALTER TABLE relationships ADD COLUMN care_team_id UUID REFERENCES care_teams (care_team_id);
ALTER TABLE relationships ADD COLUMN reason TEXT;
ALTER TABLE relationships ADD COLUMN text_enc BYTEA;
ALTER TABLE relationships ADD COLUMN granted_by UUID REFERENCES users (user_id);
CREATE INDEX relationships_by_care_team ON relationships (care_team_id) WHERE care_team_id IS NOT NULL;

-- Moves whenever a clinic changes from which networks its people may come: servers then look at their open sockets.
INSERT INTO sequences (name, value) VALUES ('networks', 0);
