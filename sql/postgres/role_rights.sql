-- What the role of this session may do to the tables with these names ($1) beyond reading them; nothing is listed of a superuser. No right to their schemas is needed.
WITH named AS (
    SELECT DISTINCT c.oid
    FROM pg_catalog.unnest($1::text[]) AS names (name)
    CROSS JOIN LATERAL (SELECT pg_catalog.parse_ident(names.name, false) AS ids) AS parts
    JOIN pg_namespace n ON n.nspname = parts.ids[1]::name
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = parts.ids[2]::name
)
SELECT pg_catalog.quote_ident(me.rolname::text) AS role, me.rolsuper AS is_superuser, me.rolbypassrls AS bypasses_policies,
       pg_catalog.concat_ws('.'::text, pg_catalog.quote_ident(n.nspname::text), pg_catalog.quote_ident(c.relname::text)) AS table_name,
       pg_catalog.quote_ident(owner.rolname::text) AS owner, owner.oid = me.oid AS is_own,
       pg_catalog.pg_has_role(me.oid, owner.oid, 'MEMBER'::text) AS is_member, c.relrowsecurity AS has_policies,
       ARRAY(SELECT kinds.name FROM pg_catalog.unnest(ARRAY['INSERT'::text, 'UPDATE'::text, 'DELETE'::text, 'TRUNCATE'::text, 'TRIGGER'::text]) WITH ORDINALITY AS kinds (name, nth)
             WHERE pg_catalog.has_table_privilege(c.oid, kinds.name)
                OR (kinds.name IN ('INSERT'::text, 'UPDATE'::text) AND pg_catalog.has_any_column_privilege(c.oid, kinds.name))
             ORDER BY kinds.nth) AS writes
FROM pg_roles me
LEFT JOIN pg_class c ON NOT me.rolsuper AND c.oid IN (SELECT named.oid FROM named)
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_roles owner ON owner.oid = c.relowner
WHERE me.rolname = CURRENT_USER
ORDER BY 4
