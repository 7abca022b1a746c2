{{ rosariosis_courses() }}
