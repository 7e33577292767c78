select set_config('lock_timeout', '1500ms', true)
