-- Makes the log if there is none. Answers the id of the last event that was ever appended,
-- that of the oldest one (empty: none) and the time in milliseconds.
local info = redis.pcall('XINFO', 'STREAM', stream)
local failed
if info.err then
  if redis.call('EXISTS', stream) == 1 then
    return info
  end
  failed = make()
elseif not is_ours(told(info, 'last-generated-id')) then
  failed = adopt()
end
if failed then
  return failed
end
info = redis.call('XINFO', 'STREAM', stream)
local first = told(info, 'first-entry')
return { told(info, 'last-generated-id'), first and first[1] or '', now() }
