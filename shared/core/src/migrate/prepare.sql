create schema if not exists pipeline;
create table if not exists pipeline.migrations (
    version integer not null,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now(),
    constraint migrations_pkey primary key (version)
);
comment on table pipeline.migrations is 'The migrations that are applied, with the SHA-256 of each file.';
