-- Further arguments: ids of events that another program has appended, of latest-value
-- topics. Those that are there, and newer than what is kept, are kept.
for at = 3, #ARGV do
  local id = ARGV[at]
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if entry then
    local fields, topic = entry[2], nil
    for field = 1, #fields, 2 do
      if fields[field] == 'topic' then
        topic = fields[field + 1]
        break
      end
    end
    local kept = topic and redis.call('HGET', newest, topic)
    local behind = kept and string.match(kept, '^%S+')
    if topic and (not behind or epoch_of(behind) ~= epoch_of(id) or is_behind(id, behind)) then
      keep(topic, id, fields)
    end
  end
end
return 'OK'
