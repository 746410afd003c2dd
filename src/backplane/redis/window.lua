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
local last = told(info, 'last-generated-id')
-- Who writes ids by hand may have begun another epoch in the same stream.
local first = redis.call('XRANGE', stream, epoch_of(last) .. '-1', '+', 'COUNT', 1)[1]
return { last, first and first[1] or '', now() }
