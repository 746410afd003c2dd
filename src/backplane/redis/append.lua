-- Further keys: the lease of who relays, and one for each event that is stored once.
-- Further arguments: for how many milliseconds that is remembered, whose lease has to
-- be valid (empty: none), and for each event whether it is stored once, whether it is the
-- newest one of its topic, how many fields it has, and the fields: first the topic, then the
-- tag.
-- Answers for each event an id, an id and a tag if it has been stored before, or `!` and an
-- error.
local remember, lease = ARGV[3], ARGV[4]
if lease ~= '' and redis.call('GET', KEYS[4]) ~= lease then
  return false
end
local time = now()

local function known(key)
  local position = redis.pcall('GET', key)
  if type(position) ~= 'string' then
    return nil
  end
  local info = redis.pcall('XINFO', 'STREAM', stream)
  local last = told(info, 'last-generated-id')
  if last and epoch_of(last) == epoch_of(position) then
    return position
  end
end

local answers = {}
local at, key = 5, 5
while at <= #ARGV do
  local once, is_newest, count = ARGV[at] == '1', ARGV[at + 1] == '1', tonumber(ARGV[at + 2])
  local fields = { unpack(ARGV, at + 3, at + 2 + count) }
  fields[count + 1], fields[count + 2] = 'at', time
  at = at + 3 + count

  local answer = once and known(KEYS[key])
  if not answer then
    local id = add(fields)
    if type(id) == 'string' then
      answer = id
      if is_newest then
        keep(fields[2], id, fields)
      end
      if once then
        redis.pcall('SET', KEYS[key], id .. ' ' .. fields[4], 'PX', remember)
      end
    else
      answer = '!' .. ((id and id.err) or 'ERR')
    end
  end
  if once then
    key = key + 1
  end
  answers[#answers + 1] = answer
end
return answers
