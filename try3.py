import sys,time
sys.path.insert(0,'operator')
from pathlib import Path
from modelfleet.plan.engine import Engine
from modelfleet.sim.fleet import *
from modelfleet.sim import traces
from modelfleet.sim.world import World
from modelfleet.sim.policies.simple import *
from modelfleet.sim.policies.ours import *
E=Engine('8b-h100',.0061693,1.059e-5,4.175e-8,2.2771e-5,.0125,.002,256,8192,474304)
T=Path('/work/shared/traces')
H=float(sys.argv[1]) if len(sys.argv)>1 else 6
A=list(traces.servegen(T,'m-large',mean_rps=60,day=3,days=H/24))
print(len(A))
for p,n in ((Static(),7),(Hpa(60),4),(KubeAi(100),4),(KubeAi(70),4),(Lead(.9),4),(Lead(.98),4),(Lead(.98,headroom=1.2),4),(Lead(.98,headroom=1.5),4)):
    t=time.time()
    w=World(Cascade((Tier('small',E,replicas_start=n,replicas_max=12),)),A,p)
    r=w.run(H*3600)
    print(p.name, 'att %.2f gpuh %.1f flips %.0f changes %d ttft95 %.3f 99 %.3f itl95 %.4f poor %d  %.0fs'%(100*r.attainment,r.gpu_h,r.flips_per_day,r.courses['small'].changes,r.ttft.quantile_s(.95),r.ttft.quantile_s(.99),r.itl.quantile_s(.95),r.poor_minutes,time.time()-t), flush=True)
