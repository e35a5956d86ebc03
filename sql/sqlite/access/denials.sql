SELECT id, issuer, subject, token_id, until_ms, created_ms, created_by FROM denied_principals ORDER BY created_ms DESC, id
