-- What the tables of a mapping looked like when it was first used: see src/store/postgres/sources/shape.rs.
ALTER TABLE fleet ADD COLUMN shape jsonb;
