-- wrk script: GETs random lines of the file that PATHS names, one path a line.
local requests = {}

function init()
   for path in io.lines(os.getenv("PATHS")) do
      -- Built once: the load generator should not be what is measured.
      requests[#requests + 1] = wrk.format("GET", path)
   end
   math.randomseed(os.time())
end

function request()
   return requests[math.random(#requests)]
end
