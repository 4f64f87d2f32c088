-- wrk: sends a message with each request, with a key and a text of its own.
-- Arguments: file of "ROOM TOKEN" lines, prefix of the keys, bytes of text, milliseconds to wait before each request.

local heads, count, sent = {}, 0, 0
local prefix, filler, pause

local function pad(number) return string.format("%08d", number) end

function init(args)
   prefix = args[2]
   filler = string.rep("x", tonumber(args[3]) - 9)
   pause = tonumber(args[4] or "0")
   if pause > 0 then
      -- wrk waits before a request only when this function is there.
      function delay() return math.random(math.floor(pause * 0.5), math.ceil(pause * 1.5)) end
   end
   local length = #('{"text":"' .. pad(0) .. " " .. filler .. '"}')
   for line in io.lines(args[1]) do
      local room, token = line:match("(%S+) (%S+)")
      count = count + 1
      heads[count] = "POST /v1/rooms/" .. room .. "/messages HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port
         .. "\r\nAuthorization: Bearer " .. token .. "\r\nContent-Type: application/json\r\nContent-Length: " .. length
         .. "\r\nIdempotency-Key: "
   end
end

function request()
   sent = sent + 1
   local number = pad(sent)
   -- Keys of real clients are random, so the leading digits are scattered; the counter keeps each one unique.
   local key = bit.tohex(bit.tobit(sent * 2654435761 % 4294967296)) .. "-" .. prefix .. "-" .. number
   return heads[sent % count + 1] .. key .. '\r\n\r\n{"text":"' .. number .. " " .. filler .. '"}'
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"max":%d,"refused":%d,"broken":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
