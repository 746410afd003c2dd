-- What all scripts begin with. They are called with the same first keys and arguments:
-- the stream, the newest event of each latest-value topic, where a stream that is not ours
-- is put aside; the epoch of a log that has to be made, and how many events are kept.
-- Numbers of ids do not fit into a number of Lua, so ids are compared as text.
local stream, newest, aside = KEYS[1], KEYS[2], KEYS[3]
local epoch, most = ARGV[1], ARGV[2]

-- The part of an id before the dash is an epoch, and then it has 20 digits, or a time.
local function is_ours(id)
  return string.find(id, '-', 1, true) == 21
end

local function epoch_of(id)
  return string.sub(id, 1, 20)
end

-- Whether of two ids of one epoch the first is the greater one.
local function is_behind(id, other)
  if #id ~= #other then
    return #id > #other
  end
  return id > other
end

-- An error begins with its code. Before Redis 7 it begins with where it has happened.
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    answer.err = string.match(answer.err, '^@user_script: %d+: %-(.*)') or answer.err
  end
  return answer
end

local function append(entry)
  return try('XADD', stream, 'MAXLEN', '~', most, '*', unpack(entry))
end

-- An empty stream whose next id is `<epoch>-1`. Answers an error, if there is one.
local function make()
  local made = try('XADD', stream, epoch .. '-0', 'log', '1')
  if type(made) == 'table' then
    return made
  end
  redis.call('XDEL', stream, made)
  redis.call('DEL', newest)
end

-- Moves what another program has put into a stream without an epoch to one of ours.
local function adopt()
  local renamed = try('RENAME', stream, aside)
  if renamed.err then
    return renamed
  end
  redis.call('XTRIM', aside, 'MAXLEN', most)
  local failed = make()
  local from = '-'
  while not failed do
    local entries = redis.call('XRANGE', aside, from, '+', 'COUNT', 100)
    if #entries == 0 then
      break
    end
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      if #fields > 1000 then
        fields = { 'malformed', '1' }
      end
      append(fields)
      redis.call('XDEL', aside, entry[1])
    end
  end
  if not failed then
    redis.call('DEL', aside)
  end
  return failed
end

-- Appends, to a log that is made if there is none: then Redis has begun one with a time.
-- Answers an id or an error.
local function add(entry)
  local id = append(entry)
  if type(id) == 'string' and not is_ours(id) then
    redis.call('XDEL', stream, id)
    return adopt() or append(entry)
  end
  return id
end

-- What `XINFO STREAM` says under this name.
local function told(info, name)
  for at = 1, #info, 2 do
    if info[at] == name then
      return info[at + 1]
    end
  end
end

local function now()
  local time = redis.call('TIME')
  return time[1] .. string.format('%03d', math.floor(time[2] / 1000))
end

-- Keeps an event as the newest one of its topic: its id, then each field and value as
-- `<length>:<bytes>,`.
local function keep(topic, id, fields)
  local texts = { id, ' ' }
  for _, field in ipairs(fields) do
    texts[#texts + 1] = #field .. ':' .. field .. ','
  end
  return redis.pcall('HSET', newest, topic, table.concat(texts))
end

